package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// pace says how long a request to an endpoint will probably occupy a sender.
type pace uint8

const (
	proven  pace = iota // the last attempt succeeded quickly
	unknown             // there was none yet, or it failed quickly
	slow                // the last attempt timed out or was slow, or one in flight is
	paces
)

// slowAfter is the duration from which on a request counts as slow.
const slowAfter = time.Second

// pacing derives an endpoint's pace from its attempts.
type pacing struct {
	proven, slow bool // as of the last attempt
	slowInFlight int  // requests that have been in flight for slowAfter
}

func (p *pacing) pace() pace {
	switch {
	case p.slow || p.slowInFlight > 0:
		return slow
	case p.proven:
		return proven
	}
	return unknown
}

// observe takes an attempt's outcome into account.
func (p *pacing) observe(o *webhook.Outcome) {
	p.slow = o.Class == webhook.ClassTimeout || o.Duration >= slowAfter
	p.proven = o.Class.Verdict() == webhook.Delivered && !p.slow
}

// restore assumes that an endpoint that was failing is slow.
func (p *pacing) restore(h outbox.Health) {
	p.proven, p.slow = false, h.Pauses > 0 || !h.FailingSince.IsZero()
}
