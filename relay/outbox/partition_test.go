package outbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// newLeader makes an outbox in a database of its own and leads it.
func newLeader(ctx context.Context, t *testing.T) *Leader {
	t.Helper()
	store, err := Open(clustertest.Database(t), "iam_relay", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	member, err := store.Join(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	leader, err := member.Lead(ctx, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leader.Close)
	return leader
}

// A dump of the database reads every table for as long as it takes. Neither do new days wait for it, nor does ingest wait for
// old days that cannot be dropped meanwhile.
func TestPartitions_NobodyWaitsForADump(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	if err := leader.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	tomorrow := today().AddDate(0, 0, 1)
	if _, err := leader.store.pool.Exec(ctx, `DROP TABLE event_`+tomorrow.Format(dayFormat)); err != nil {
		t.Fatal(err)
	}
	dump, err := leader.store.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Rollback(context.WithoutCancel(ctx))
	if _, err := dump.Exec(ctx, `LOCK TABLE event, attempt IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	if err := leader.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	dropped, err := leader.DropBefore(ctx, tomorrow)
	if err != nil || len(dropped) != 0 {
		t.Fatalf("dropped %v (%v) while they were read", dropped, err)
	}
	c := &Chunk{Events: []Event{{ID: 1, WebhookID: "evt_1", Name: "user.created", Resource: "r", Occurred: time.Now(), LSN: 1, Body: []byte("{}")}}}
	if err := leader.Commit(ctx, c, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := dump.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if dropped, err = leader.DropBefore(ctx, tomorrow); err != nil || len(dropped) != 2 {
		t.Errorf("dropped %v (%v), not today's two", dropped, err)
	}
	rows, err := leader.store.pool.Query(ctx, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent IN ('event'::regclass, 'attempt'::regclass)`)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(left) != 2 {
		t.Errorf("left are %v (%v), not tomorrow's two", left, err)
	}
}

// A relay that was replaced drops nothing: its successor may keep the log for longer.
func TestPartitions_FormerLeaderDropsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	if err := leader.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := leader.store.pool.Exec(ctx, `UPDATE position SET epoch = epoch + 1`); err != nil {
		t.Fatal(err)
	}
	if dropped, err := leader.DropBefore(ctx, today().AddDate(0, 0, 1)); !errors.Is(err, ErrFenced) || len(dropped) != 0 {
		t.Errorf("dropped %v: %v, want ErrFenced", dropped, err)
	}
}
