package outbox

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// newLeader creates an outbox in a new database and leads it.
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

// While a dump holds locks on all tables, new partitions can be created, and ingestion does not queue behind the drop of old ones.
func TestPartitions_DoNotWaitForADump(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	if err := leader.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	tomorrow := testDay().AddDate(0, 0, 1)
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
	dropped, err := dropExpired(ctx, leader, -24*time.Hour, 0)
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
	if dropped, err = dropExpired(ctx, leader, -24*time.Hour, 0); err != nil || len(dropped) != 2 {
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

// A former leader drops nothing, since its successor may have a longer retention.
func TestPartitions_FormerLeaderDropsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	if err := leader.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := leader.store.pool.Exec(ctx, `UPDATE position SET epoch = epoch + 1`); err != nil {
		t.Fatal(err)
	}
	if dropped, err := dropExpired(ctx, leader, -24*time.Hour, 0); !errors.Is(err, ErrFenced) || len(dropped) != 0 {
		t.Errorf("dropped %v: %v, want ErrFenced", dropped, err)
	}
}

// testDay is today by the test's server.
func testDay() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// dropExpired returns the names of the dropped partitions.
func dropExpired(ctx context.Context, leader *Leader, keep time.Duration, grace int) ([]string, error) {
	expiries, err := leader.DropExpired(ctx, keep, grace)
	var names []string
	for _, e := range expiries {
		if e.Dropped {
			names = append(names, e.Partition)
		}
	}
	return names, err
}

// Partitions with undelivered events are first reported, and dropped after a number of calls that does not depend on the clock.
func TestPartitions_UndeliveredEventsGetAGracePeriod(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	exec := func(sql string) {
		t.Helper()
		if _, err := leader.store.pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	webhooks := []Webhook{{ID: 1, Origin: OriginConfig, Key: "a", Name: "a", Tenant: "*", Enabled: true}, {ID: 2, Origin: OriginConfig, Key: "b", Name: "b", Tenant: "*", Enabled: true}}
	if err := leader.SaveWebhooks(ctx, webhooks); err != nil {
		t.Fatal(err)
	}
	c := &Chunk{Events: []Event{
		{ID: 1, WebhookID: "evt_1", Name: "user.created", Resource: "r", Occurred: time.Now().AddDate(1, 0, 0), LSN: 1, Body: []byte("{}"), Webhooks: []int64{1, 2}},
		{ID: 2, WebhookID: "evt_2", Name: "user.created", Resource: "r", Occurred: time.Now().AddDate(-1, 0, 0), LSN: 1, Ordinal: 1, Body: []byte("{}"), Webhooks: []int64{2}},
	}}
	if err := leader.Commit(ctx, c, 1, 2); err != nil { // no partition was made: it is made for it
		t.Fatal(err)
	}
	look := func(kept int, owed ...Owed) {
		t.Helper()
		expiries, err := leader.DropExpired(ctx, -24*time.Hour, 2)
		if err != nil {
			t.Fatal(err)
		}
		var got *Expiry
		for i := range expiries {
			if strings.HasPrefix(expiries[i].Partition, "event_") {
				got = &expiries[i]
			}
		}
		switch {
		case kept < 0 && got != nil:
			t.Errorf("said %+v, which was said before", got)
		case kept >= 0 && (got == nil || got.Kept != kept || got.Dropped != (kept == 0)):
			t.Errorf("got %+v, want %d more calls", got, kept)
		case kept >= 0:
			if diff := cmp.Diff(owed, got.Owed); diff != "" {
				t.Error(diff)
			}
		}
	}
	exec(`INSERT INTO retry (event, webhook, attempts, due, class, status) VALUES (1, 1, 1, now() + interval '1 hour', 'http_5xx', 500)`)
	look(2, Owed{1, "a", 1}, Owed{2, "b", 2})
	look(-1)
	exec(`UPDATE webhook SET cursor = 1 WHERE id = 2`)
	look(0, Owed{1, "a", 1}, Owed{2, "b", 1})
	var n int
	if err := leader.store.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM expiring)`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows are left (%v)", n, err)
	}
	c = &Chunk{Events: []Event{{ID: 3, WebhookID: "evt_3", Name: "user.created", Resource: "r", Occurred: time.Now(), LSN: 2, Body: []byte("{}"), Webhooks: []int64{1}}}}
	if err := leader.Commit(ctx, c, 2, 3); err != nil {
		t.Fatal(err)
	}
	exec(`UPDATE watermark SET delivered = 3`)
	exec(`UPDATE webhook SET cursor = NULL`)
	exec(`DELETE FROM retry`)
	look(0)
}

// Times in the outbox are the server's, whatever this machine's clock. If the server's clock is set back, due times move along.
func TestClock_FollowsTheServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	store := leader.store
	// As if this machine were 40 days behind: the same instant is another time of day on the two.
	local := time.Now()
	store.clock.sampled.Store(&sample{server: local.AddDate(0, 0, 40), local: local})
	if got := store.ServerTime(local.Add(time.Hour)).Sub(local); got != 40*24*time.Hour+time.Hour {
		t.Errorf("an hour later it is %s later on the server", got)
	}
	if got := store.LocalTime(local.AddDate(0, 0, 40).Add(time.Hour)).Sub(local); got != time.Hour {
		t.Errorf("the server's time of an hour later is in %s", got)
	}
	if got := store.ServerTime(time.Time{}); !got.IsZero() {
		t.Errorf("no time became %s", got)
	}
	if _, err := store.pool.Exec(ctx, `INSERT INTO retry (event, webhook, attempts, due, class, status) VALUES
		(1, 1, 1, now() + interval '40 days 1 hour', 'http_5xx', 500), (2, 1, 1, 'infinity', 'http_5xx', 500), (3, 1, 1, now() - interval '1 hour', 'http_5xx', 500)`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.SyncClock(ctx); err != nil { // the server is set back by the 40 days
		t.Fatal(err)
	}
	set, err := leader.FollowClock(ctx)
	if err != nil || set > -40*24*time.Hour+time.Minute || set < -40*24*time.Hour-time.Minute {
		t.Errorf("the clock was set by %s (%v)", set, err)
	}
	var moved bool
	if err := store.pool.QueryRow(ctx, `SELECT bool_and(CASE event WHEN 1 THEN due BETWEEN now() + interval '50 minutes' AND now() + interval '70 minutes'
		WHEN 2 THEN due = 'infinity' ELSE due < now() END) FROM retry`).Scan(&moved); err != nil || !moved {
		t.Errorf("what waits has not moved along (%v)", err)
	}
	if again, err := leader.FollowClock(ctx); err != nil || again != 0 {
		t.Errorf("followed twice: %s (%v)", again, err)
	}

	// It is set back by two days while no relay runs, which the next leader finds.
	if _, err := store.pool.Exec(ctx, `UPDATE retry SET due = now() + interval '2 days 1 hour' WHERE event = 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.pool.Exec(ctx, `UPDATE watermark SET clock_checked = clock_checked + interval '2 days'`); err != nil {
		t.Fatal(err)
	}
	next := &Leader{store: store, epoch: leader.epoch}
	set, err = next.FollowClock(ctx)
	if err != nil || set > -48*time.Hour+time.Minute || set < -48*time.Hour-time.Minute {
		t.Errorf("the clock was set by %s while no relay ran (%v)", set, err)
	}
	if err := store.pool.QueryRow(ctx, `SELECT due BETWEEN now() + interval '50 minutes' AND now() + interval '70 minutes' FROM retry WHERE event = 1`).Scan(&moved); err != nil || !moved {
		t.Errorf("what waits has not moved along (%v)", err)
	}
	if again, err := (&Leader{store: store, epoch: leader.epoch}).FollowClock(ctx); err != nil || again != 0 {
		t.Errorf("followed twice: %s (%v)", again, err)
	}
}
