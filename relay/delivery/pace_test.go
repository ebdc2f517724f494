package delivery

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestPacing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(p *pacing)
		want pace
	}{
		"no attempt":          {func(*pacing) {}, unknown},
		"quick success":       {func(p *pacing) { p.observe(&webhook.Outcome{Class: webhook.ClassDelivered}) }, proven},
		"slow success":        {func(p *pacing) { p.observe(&webhook.Outcome{Class: webhook.ClassDelivered, Duration: slowAfter}) }, slow},
		"quick failure":       {func(p *pacing) { p.observe(&webhook.Outcome{Class: webhook.ClassHTTP5xx}) }, unknown},
		"time-out":            {func(p *pacing) { p.observe(&webhook.Outcome{Class: webhook.ClassTimeout}) }, slow},
		"slow one in flight":  {func(p *pacing) { p.proven, p.slowInFlight = true, 1 }, slow},
		"restored, healthy":   {func(p *pacing) { p.proven = true; p.restore(outbox.Health{}) }, unknown},
		"restored, failing":   {func(p *pacing) { p.restore(outbox.Health{FailingSince: time.Now()}) }, slow},
		"restored, in flight": {func(p *pacing) { p.slowInFlight = 1; p.restore(outbox.Health{}) }, slow},
	} {
		var p pacing
		c.do(&p)
		if got := p.pace(); got != c.want {
			t.Errorf("%s: pace %d, want %d", name, got, c.want)
		}
	}
}
