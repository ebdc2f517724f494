package outbox

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// openStore opens an outbox in a new database, and a separate connection to it.
func openStore(t *testing.T) (context.Context, *Store, *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	url := clustertest.Database(t)
	store, err := Open(url, "iam_relay", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(ctx)) })
	return ctx, store, conn
}

// poll runs a query until it returns true.
func poll(ctx context.Context, t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		if err := conn.QueryRow(ctx, sql, args...).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if yes {
			return
		}
		<-tick.C
	}
}

// A new leader may wait for a former leader's transaction longer than the idle timeout of its lock.
func TestLeader_KeepsTheLockWhileItStarts(t *testing.T) {
	t.Parallel()
	ctx, store, other := openStore(t)
	member, err := store.Join(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	blocking, err := store.pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer blocking.Release()
	former, err := blocking.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := former.Exec(ctx, `UPDATE iam_relay.position SET updated = now()`); err != nil {
		t.Fatal(err)
	}
	led := make(chan error, 1)
	var leader *Leader
	go func() {
		var err error
		leader, err = member.Lead(ctx, func() {})
		led <- err
	}()
	poll(ctx, t, other, `SELECT coalesce(max(clock_timestamp() - query_start) > $1::interval, false) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND $2::int = ANY (pg_blocking_pids(pid))`, lockIdle+time.Second, blocking.Conn().PgConn().PID())
	if err := former.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-led; err != nil {
		t.Fatal(err)
	}
	defer leader.Close()
	poll(ctx, t, other, `SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

// An exhausted pool does not stop heartbeats.
func TestMember_HeartbeatDoesNotWaitForThePool(t *testing.T) {
	t.Parallel()
	ctx, store, other := openStore(t)
	member, err := store.Join(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	for range store.config.MaxConns {
		conn, err := store.pool.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	beating, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- member.Beat(beating) }()
	poll(ctx, t, other, `SELECT seen > joined + interval '1 second' FROM iam_relay.member`)
	if !member.Alive() {
		t.Error("the member takes itself for gone")
	}
	// A connection that breaks is replaced.
	poll(ctx, t, other, `SELECT count(*) > 0 FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE '%member%' AND pid <> pg_backend_pid() AND backend_type = 'client backend') AS ended`)
	poll(ctx, t, other, `SELECT seen > joined + interval '5 seconds' FROM iam_relay.member`)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func beatOnce(ctx context.Context, m *Member) error {
	h := &heartbeat{member: m}
	defer h.close(ctx)
	return h.send(ctx)
}
