package outbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// A member's leases are valid until it is removed. What it records after that has no effect.
func TestMember_LeasesEndWithTheMember(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	store, err := Open(clustertest.Database(t), "iam_relay", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := store.pool.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	join := func() *Member {
		t.Helper()
		m, err := store.Join(ctx, "test")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	one, two := join(), join()
	leader, err := join().Lead(ctx, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leader.Close)
	if err := leader.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	exec(`UPDATE position SET last_event = 1000`)
	exec(`INSERT INTO webhook (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled, cursor)
		VALUES (1, 'config', 'a', '*', 'a', '', 'https://a.example.com', '{}', '{}', '{*}', true, 100)`)
	exec(`INSERT INTO retry (event, webhook, attempts, due, class, status) SELECT 50, 1, 1, now(), 'http_5xx', 500`)

	claim := func(m *Member) int {
		t.Helper()
		webhooks, err := m.Claim(ctx, 10, 500, 1<<62)
		if err != nil {
			t.Fatal(err)
		}
		return len(webhooks)
	}
	due := func(m *Member) int {
		t.Helper()
		claimed, err := m.ClaimDue(ctx, Claim{Limit: 10, PerWebhook: 10, Bytes: 1 << 20, Except: []int64{}})
		if err != nil {
			t.Fatal(err)
		}
		return len(claimed)
	}
	if n := claim(one); n != 1 {
		t.Fatalf("the first member has leased %d webhooks", n)
	}
	if n := due(one); n != 1 {
		t.Fatalf("the first member has leased %d deliveries", n)
	}
	if claim(two) != 0 || due(two) != 0 {
		t.Error("the second member has leased what the first one has")
	}
	record := func(m *Member, cursor int64) []int64 {
		t.Helper()
		lost, err := m.Record(ctx, 0, &Delivery{
			Cursors: map[int64]CursorUpdate{1: {Cursor: cursor}}, Retries: []Retry{{Event: cursor, Webhook: 1, Attempts: 1, Due: time.Now().Add(time.Hour)}},
			RetriesDone: []DeliveryKey{{Event: 50, Webhook: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return lost
	}
	count := func(sql string) (n int64) {
		t.Helper()
		if err := store.pool.QueryRow(ctx, sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if lost := record(two, 700); len(lost) != 1 {
		t.Errorf("the second member, which serves nothing, hears of %d lost webhooks", len(lost))
	}
	if n := count(`SELECT cursor * 10 + (SELECT count(*) FROM retry) FROM webhook`); n != 1001 {
		t.Errorf("the second member has written: %d", n)
	}

	beat := &heartbeat{member: two}
	t.Cleanup(func() { beat.close(ctx) })
	hear := func(silence time.Duration) {
		t.Helper()
		if p, ok := beat.others[one.ID()]; ok {
			p.since -= silence
			beat.others[one.ID()] = p
		}
		if err := beat.send(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// A clock that was set forward makes every heartbeat look old.
	exec(`UPDATE member SET seen = clock_timestamp() - interval '40 days'`)
	hear(0)
	hear(memberGone / 4)
	if n := count(`SELECT count(*) FROM member`); n != 3 {
		t.Fatalf("%d members are left: one was removed before it was silent for %s", n, memberGone)
	}
	if err := beatOnce(ctx, one); err != nil {
		t.Fatal(err)
	}
	hear(2 * memberGone) // it was not silent
	if n := count(`SELECT count(*) FROM member`); n != 3 {
		t.Fatalf("%d members are left: one was removed although it sends heartbeats", n)
	}
	hear(memberGone)
	if err := beatOnce(ctx, one); !errors.Is(err, ErrFenced) {
		t.Errorf("the first member's beat: %v, want ErrFenced", err)
	}
	if claim(two) != 1 || due(two) != 1 {
		t.Error("what the first member had leased is not free")
	}
	if lost := record(one, 800); len(lost) != 1 {
		t.Error("the first member does not hear that the webhook is another's")
	}
	if n := count(`SELECT cursor * 10 + (SELECT count(*) FROM retry) FROM webhook`); n != 1001 {
		t.Errorf("the first member has written after it was gone: %d", n)
	}
	if lost := record(two, 900); len(lost) != 0 || count(`SELECT cursor FROM webhook`) != 900 {
		t.Error("the second member cannot write what it has leased")
	}
	if err := two.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	exec(`UPDATE webhook SET cursor = 100`)
	if claim(join()) != 1 {
		t.Error("what a member had leased is not free when it has left")
	}
}

// A frozen member stops using its leases before the others take them over.
func TestMember_NotAliveBeforeItIsRemoved(t *testing.T) {
	t.Parallel()
	if memberMute >= memberGone || memberBeat*3 > memberMute {
		t.Errorf("beat %s, mute %s, gone %s", memberBeat, memberMute, memberGone)
	}
	m := &Member{start: time.Now().Add(-memberMute - time.Second)}
	if m.Alive() {
		t.Error("it takes itself for alive")
	}
	m.beat.Store(int64(time.Since(m.start)))
	if !m.Alive() {
		t.Error("it does not take itself for alive")
	}
}
