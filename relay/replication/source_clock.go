package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// sourceClock asks the server for its clock, over a connection that it makes anew where the last one is gone: servers and
// firewalls end those that say nothing for long.
type sourceClock struct {
	url  string
	conn *pgx.Conn
}

func (c *sourceClock) close(ctx context.Context) { c.conn.Close(ctx) }

// ask asks the server for the end of its log and, before that, for its clock: every transaction with an earlier commit time
// has its commit record before that place, or does so within moments.
func (c *sourceClock) ask(ctx context.Context) (cdc.LSN, time.Time, error) {
	if c.conn.IsClosed() {
		conn, err := cdc.Connect(ctx, c.url)
		if err != nil {
			return 0, time.Time{}, fmt.Errorf("read the source database's clock: %w", err)
		}
		c.conn = conn
	}
	var lsn string
	var now time.Time
	err := c.conn.QueryRow(ctx, `SELECT clock_timestamp(), (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
		ELSE pg_current_wal_insert_lsn() END)::text`).Scan(&now, &lsn)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read the source database's clock: %w", err)
	}
	at, err := cdc.ParseLSN(lsn)
	return at, now, err
}

// observeClock compares the clock of the source with this machine's. What it cannot learn now it learns the next time.
func (t *Replicator) observeClock(ctx context.Context, conn *pgx.Conn) {
	asked := time.Now()
	var server time.Time
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&server); err == nil {
		took := time.Since(asked)
		t.Clock.Observe(server.Sub(asked.Add(took/2).Round(0)), took)
	}
}
