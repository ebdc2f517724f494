package monitor

import (
	"log/slog"
	"time"

	"github.com/iam-relay/iam-relay/relay/admin"
)

// clockTolerance is how far two clocks may differ without a warning.
const clockTolerance = 5 * time.Second

// ClockWatch warns once when a database server's clock differs from this machine's, and reports once when they agree again. Events do not
// depend on this machine's clock, but the timestamps of signatures and of the log, and the validity of certificates, do.
type ClockWatch struct {
	Server  string // "source" or "outbox": the label of the metric and the log
	Log     *slog.Logger
	Metrics *admin.Metrics
	warned  bool
}

// Observe takes one measurement: how far the server's clock is ahead, negative if it is behind, and how long the query took, by which the
// measurement may be wrong.
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
