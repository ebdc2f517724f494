package delivery

import (
	"log/slog"
	"time"

	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Config is what a Dispatcher works with.
type Config struct {
	Member   Member
	Store    Store
	Sender   Sender
	Schedule webhook.Schedule
	InFlight int // maximum of first attempts in flight per endpoint
	Queue    int // maximum of queued events per endpoint
	Senders  int // maximum of first attempts and probes in flight to all endpoints
	Breaker  BreakerConfig
	Metrics  *admin.Metrics
	Clock    ClockObserver // of the outbox's server
	// RootEvents are the events of other tenants that webhooks of root tenants receive.
	RootEvents map[string]bool
	Log        *slog.Logger
}

// ClockObserver receives readings of a server's clock: how far it is ahead of this machine's, and how long the reading took, which is
// its possible error.
type ClockObserver interface {
	Observe(ahead, took time.Duration)
}
