package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// timing is the duration of each phase of a request in milliseconds; nil for a phase that did not happen.
type timing struct {
	DNS       *float64 `json:"dns_ms,omitempty"`
	Connect   *float64 `json:"connect_ms,omitempty"`
	TLS       *float64 `json:"tls_ms,omitempty"`
	FirstByte *float64 `json:"first_byte_ms,omitempty"`
}

func timingOf(p webhook.Phases) timing {
	return timing{DNS: took(p.DNS), Connect: took(p.Connect), TLS: took(p.TLS), FirstByte: took(p.FirstByte)}
}

func took(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	ms := inMilliseconds(d)
	return &ms
}

func (t timing) String() string {
	var texts []string
	for _, phase := range []struct {
		name string
		took *float64
	}{{"dns", t.DNS}, {"connect", t.Connect}, {"tls", t.TLS}, {"first byte", t.FirstByte}} {
		if phase.took != nil {
			texts = append(texts, fmt.Sprintf("%s %.1f", phase.name, *phase.took))
		}
	}
	if texts == nil {
		return ""
	}
	return " (" + strings.Join(texts, ", ") + ")"
}

func inMilliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
