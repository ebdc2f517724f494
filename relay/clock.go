package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/relay/admin"
)

// clockTolerance is by how much two clocks may differ without a word.
const clockTolerance = 5 * time.Second

// clockWatch says once when another server's clock differs from this machine's. Nothing that the relay does with events depends on
// this machine's clock, but the timestamps of its signatures, its log and its certificates do.
type clockWatch struct {
	server  string
	log     *slog.Logger
	metrics *admin.Metrics
	warned  bool
}

// observe takes a reading that may be wrong by took.
func (c *clockWatch) observe(ahead, took time.Duration) {
	c.metrics.ClockOffset(c.server, ahead)
	off := ahead.Abs() > clockTolerance+took
	switch {
	case off && !c.warned:
		c.log.Warn("the clock of a database server differs from this machine's: set both by NTP", "server", c.server, "ahead", ahead.Round(time.Millisecond).String())
	case c.warned && !off:
		c.log.Info("the clock of a database server agrees with this machine's again", "server", c.server, "ahead", ahead.Round(time.Millisecond).String())
	}
	c.warned = off
}

// sourceClock compares the clock of the source with this machine's. What it cannot learn now it learns the next time.
func (t *term) sourceClock(ctx context.Context, conn *pgx.Conn) {
	asked := time.Now()
	var server time.Time
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&server); err == nil {
		took := time.Since(asked)
		t.clock.observe(server.Sub(asked.Add(took/2).Round(0)), took)
	}
}
