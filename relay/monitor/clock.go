package monitor

import (
	"log/slog"
	"time"

	"github.com/iam-relay/iam-relay/relay/admin"
)

// clockTolerance is by how much two clocks may differ without a word.
const clockTolerance = 5 * time.Second

// clockWatch says once when another server's clock differs from this machine's. Nothing that the relay does with events depends on
// this machine's clock, but the timestamps of its signatures, its log and its certificates do.
type ClockWatch struct {
	Server  string // source or outbox
	Log     *slog.Logger
	Metrics *admin.Metrics
	warned  bool
}

// Observe takes a reading that may be wrong by took.
func (c *ClockWatch) Observe(ahead, took time.Duration) {
	c.Metrics.ClockOffset(c.Server, ahead)
	off := ahead.Abs() > clockTolerance+took
	switch {
	case off && !c.warned:
		c.Log.Warn("the clock of a database server differs from this machine's; synchronize both with NTP", "server", c.Server, "ahead", ahead.Round(time.Millisecond).String())
	case c.warned && !off:
		c.Log.Info("the clock of a database server agrees with this machine's again", "server", c.Server, "ahead", ahead.Round(time.Millisecond).String())
	}
	c.warned = off
}
