package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// sourceClock reads the source server's clock. It reconnects when its connection was closed: servers and firewalls close idle ones.
type sourceClock struct {
	url  string
	conn *pgx.Conn
}

func (c *sourceClock) close(ctx context.Context) { c.conn.Close(ctx) }

// read returns the end of the server's WAL and, read before it, the server's clock: every transaction with an earlier commit time has its
// commit record before that LSN, or will have within moments.
func (c *sourceClock) read(ctx context.Context) (cdc.LSN, time.Time, error) {
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

// observeClock measures the offset of the source server's clock from this machine's. A failure is ignored; the next call measures again.
func (t *Replicator) observeClock(ctx context.Context, conn *pgx.Conn) {
	asked := time.Now()
	var server time.Time
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&server); err == nil {
		took := time.Since(asked)
		t.Clock.Observe(server.Sub(asked.Add(took/2).Round(0)), took)
	}
}
