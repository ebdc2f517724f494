package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Ordering is the order in which an endpoint receives events.
type Ordering string

const (
	// OrderingNone delivers as fast as possible: a retried event may arrive after later ones.
	OrderingNone Ordering = "none"
	// OrderingResource delivers the events of each resource in commit order. A failed one blocks the later events of its resource
	// until it is delivered or dead.
	OrderingResource Ordering = "resource"
	// OrderingStrict delivers all events in commit order, one at a time. A failed one blocks the endpoint until it is delivered or
	// manually skipped.
	OrderingStrict Ordering = "strict"
)

// Options configure deliveries to one endpoint. The zero value is the default.
type Options struct {
	Ordering Ordering `json:"ordering,omitempty"`
	// Schedule overrides the relay's schedule unless it is nil. An empty one means a single attempt.
	Schedule Delays `json:"schedule,omitempty"`
	// InFlight limits concurrent requests; 0 is the relay's default.
	InFlight int `json:"in_flight,omitempty"`
	// Rate limits requests per second; 0 is no limit.
	Rate float64 `json:"rate,omitempty"`
	// CloudEvents adds the headers of CloudEvents 1.0 in binary content mode.
	CloudEvents bool `json:"cloudevents,omitempty"`
	// Handshake requires the endpoint's permission before the first delivery (CloudEvents HTTP Webhook, section 4).
	Handshake bool `json:"handshake,omitempty"`
}

// Check returns all invalid options.
func (o *Options) Check() error {
	var problems []error
	switch o.Ordering {
	case "", OrderingNone, OrderingResource, OrderingStrict:
	default:
		problems = append(problems, fmt.Errorf(`ordering is %q; it must be "none", "resource" or "strict"`, o.Ordering))
	}
	if o.InFlight < 0 || o.InFlight > 10_000 {
		problems = append(problems, errors.New("in_flight must be between 1 and 10000, or 0 for delivery.in_flight"))
	}
	if !(o.Rate >= 0 && o.Rate <= 1e6) {
		problems = append(problems, errors.New("rate must be between 0 (no limit) and 1000000 requests per second"))
	}
	for _, d := range o.Schedule {
		if d < 10*time.Millisecond || d > 30*24*time.Hour {
			problems = append(problems, errors.New("each delay in the schedule must be between 10ms and 720h"))
			break
		}
	}
	return errors.Join(problems...)
}

// Exclusive reports whether only one relay at a time may send to the endpoint, because of its ordering or rate.
func (o *Options) Exclusive() bool {
	return o.Rate > 0 || o.Ordered()
}

// Ordered reports whether events are delivered in order.
func (o *Options) Ordered() bool {
	return o.Ordering == OrderingResource || o.Ordering == OrderingStrict
}

// JSON returns the form in which the options are stored.
func (o *Options) JSON() string { return mustMarshal(o) }

// ParseOptions parses the result of Options.JSON.
func ParseOptions(text string) (Options, error) {
	var o Options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return o, fmt.Errorf("parse stored webhook options: %w", err)
	}
	return o, o.Check()
}

// Delays is a list of durations that marshals as text with units.
type Delays []time.Duration

// MarshalJSON implements json.Marshaler.
func (d Delays) MarshalJSON() ([]byte, error) {
	texts := make([]string, len(d))
	for i, delay := range d {
		texts[i] = delay.String()
	}
	return json.Marshal(texts)
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Delays) UnmarshalJSON(text []byte) error {
	var texts []string
	if err := json.Unmarshal(text, &texts); err != nil {
		return err
	}
	*d = make(Delays, len(texts))
	for i, t := range texts {
		delay, err := time.ParseDuration(t)
		if err != nil {
			return err
		}
		(*d)[i] = delay
	}
	return nil
}

func mustMarshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // cannot happen: the structs contain only text and numbers
		panic(err)
	}
	return string(text)
}
