package outbox

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

const (
	tenantA = "0198c0de-0000-7000-8000-00000000000a"
	tenantB = "0198c0de-0000-7000-8000-00000000000b"
)

var realms = TenantNames{Table: "realms", Column: "name"}

// A webhook is replayed only events of its tenant, whatever the filter.
func TestReplay_SeparatesTenants(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginIAM, Tenant: tenantA})
	s.webhook(Webhook{ID: 2, Origin: OriginConfig, Tenant: "*"})
	s.webhook(Webhook{ID: 3, Origin: OriginConfig, Tenant: "acme"}) // a name, that of tenant A
	s.webhook(Webhook{ID: 4, Origin: OriginConfig, Tenant: tenantB})
	s.webhook(Webhook{ID: 5, Origin: OriginIAM, Tenant: "*"}) // the key of an odd tenant, and no star
	s.webhook(Webhook{ID: 6, Origin: OriginIAM, Tenant: ""})
	s.webhook(Webhook{ID: 7, Origin: OriginConfig, Tenant: "gone"}) // a name that no tenant has
	s.exec(`INSERT INTO mirror (table_name, key, fields) VALUES ('realms', $1, '{"name":"acme"}'), ('realms', $2, '{"name":"bad"}'),
		('realms', '', '{"name":"acme"}'), ('roles', $2, '{"name":"acme"}')`, tenantA, tenantB)
	s.log(
		Event{Tenant: tenantA},
		Event{Tenant: tenantB},
		Event{Tenant: ""},
		Event{Tenant: tenantA, Webhooks: []int64{3, 7}},
		Event{Tenant: tenantB, Webhooks: []int64{1, 3, 7}}, // they heard of another tenant once
		Event{Tenant: "", Webhooks: []int64{1, 2, 3, 4, 5, 6}},
	)
	for webhook, want := range map[int64][]int64{1: {1, 4}, 2: {1, 2, 4, 5}, 3: {4}, 4: {2, 5}, 5: nil, 6: nil, 7: nil} {
		r := Replay{Webhook: webhook, Through: s.last, Rate: 1_000_000}
		n, err := s.store.CountReplay(t.Context(), &r, realms)
		s.must(err)
		id := s.replay(r)
		s.advance()
		if diff := cmp.Diff(want, s.dueRetries(webhook)); diff != "" {
			t.Errorf("webhook %d (-want +got):\n%s", webhook, diff)
		}
		if got := s.state(id); got.State != ReplayDone || got.Queued != int64(len(want)) || n != got.Queued {
			t.Errorf("webhook %d: it says %+v, and counted %d before", webhook, got, n)
		}
	}
}

func TestReplay_Filters(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*", Events: []string{"user.*", "realm.created"}})
	noon := time.Now().UTC().Truncate(time.Hour)
	one := []int64{1}
	s.log(
		Event{Tenant: tenantA, Name: "user.created", Resource: "u1", Occurred: noon},
		Event{Tenant: tenantA, Name: "user.bulk_deleted", Resource: "u2", Occurred: noon.Add(2 * time.Minute), Webhooks: one},
		Event{Tenant: tenantB, Name: "user.role.assigned", Resource: "u1", Occurred: noon.Add(time.Minute), Webhooks: one},
		Event{Tenant: tenantA, Name: "role.created", Resource: "r1", Occurred: noon.Add(3 * time.Minute)},
		Event{Tenant: tenantA, Name: "user.bulkXdeleted", Resource: "r1", Occurred: noon.Add(4 * time.Minute)},
		Event{Tenant: "*", Name: "endpoint.disabled", Resource: "w", Occurred: noon.Add(5 * time.Minute)},
	)
	s.exec(`INSERT INTO retry (event, webhook, attempts, due, class, status) VALUES (1, 1, 3, 'infinity', 'http_5xx', 500), (5, 1, 1, now() + interval '1 h', 'timeout', 0)`)
	s.exec(`DELETE FROM attempt WHERE event = 3`)
	for name, c := range map[string]struct {
		replay Replay
		want   []int64
	}{
		"what the webhook asks for": {Replay{}, []int64{1, 2, 3}}, // 5 waits by itself
		"a name":                    {Replay{Events: []string{"user.bulk_deleted"}}, []int64{2}},
		"patterns":                  {Replay{Events: []string{"role.*", "*.assigned"}}, []int64{3, 4}},
		"a star is a word or more":  {Replay{Events: []string{"user.created.*"}}, nil},
		"tenant":                    {Replay{Tenant: tenantB}, []int64{3}},
		"resource":                  {Replay{Resource: "u1"}, []int64{1, 3}},
		"since":                     {Replay{Since: noon.Add(time.Minute)}, []int64{2, 3}},
		"until":                     {Replay{Until: noon.Add(2 * time.Minute)}, []int64{1, 3}},
		"missed":                    {Replay{Missed: true}, []int64{1, 3}},
		"everything by name":        {Replay{Events: []string{"*"}}, []int64{1, 2, 3, 4}},
		"what befell webhooks":      {Replay{Events: []string{"endpoint.*"}}, []int64{6}},
		"one":                       {Replay{Cursor: 3, Through: 4, Events: []string{"role.created"}}, []int64{4}},
	} {
		tx := *s
		tx.T = t
		c.replay.Webhook = 1
		id := tx.replay(c.replay)
		tx.advance()
		if diff := cmp.Diff(c.want, tx.dueRetries(1)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := tx.state(id); got.State != ReplayDone || got.Queued != int64(len(c.want)) {
			t.Errorf("%s: it says %+v", name, got)
		}
		s.exec(`UPDATE retry SET due = 'infinity', attempts = 3 WHERE event = 1`) // dead as before
		s.exec(`DELETE FROM retry WHERE event NOT IN (1, 5)`)
	}
}

// Replayed deliveries keep the webhook's ordering among themselves.
func TestReplay_OrderKeys(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	for id, options := range map[int64]string{1: `{}`, 2: `{"rate":5}`, 3: `{"ordering":"resource"}`, 4: `{"ordering":"strict"}`} {
		s.webhook(Webhook{ID: id, Origin: OriginConfig, Tenant: "*", Options: options, Exclusive: id > 1})
		s.replay(Replay{Webhook: id, Through: 3})
	}
	s.log(Event{Tenant: tenantA, Resource: "a"}, Event{Tenant: tenantA, Resource: "b"}, Event{Tenant: tenantA, Resource: "c"})
	s.exec(`INSERT INTO retry (event, webhook, attempts, due, class, status, order_key) VALUES (3, 3, 2, 'infinity', 'timeout', 0, 'r:c'), (3, 4, 2, 'infinity', 'timeout', 0, '*')`)
	s.advance()
	rows, err := s.store.pool.Query(t.Context(), `SELECT concat_ws(' ', webhook, event, order_key) FROM retry WHERE due <= now() AND attempts = 0 ORDER BY webhook, event`)
	s.must(err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.must(err)
	want := []string{"1 1", "1 2", "1 3", "2 1", "2 2", "2 3", "3 1 replay:a", "3 2 replay:b", "3 3 replay:c", "4 1 replay", "4 2 replay", "4 3 *"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Events that are still to be delivered are not queued a second time.
func TestReplay_SkipsPendingDeliveries(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	for id := range int64(2) {
		s.webhook(Webhook{ID: id + 1, Origin: OriginConfig, Tenant: "*"})
	}
	events := make([]Event, 10)
	for i := range events {
		events[i] = Event{Tenant: tenantA, Webhooks: []int64{1, 2}}
	}
	s.log(events...)
	s.exec(`UPDATE watermark SET delivered = 7`)
	s.exec(`UPDATE webhook SET cursor = 2 WHERE id = 2`)
	s.replay(Replay{Webhook: 1})
	s.replay(Replay{Webhook: 2})
	s.advance()
	if diff := cmp.Diff([][]int64{{1, 2, 3, 4, 5, 6, 7}, {1, 2}}, [][]int64{s.dueRetries(1), s.dueRetries(2)}); diff != "" {
		t.Error(diff)
	}
}

// The next leader continues a replay in the middle of the log and queues each event once. A former leader queues nothing.
func TestReplay_ContinuesWithTheNextLeader(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	s.log(make([]Event, 2500)...)
	s.exec(`UPDATE event SET tenant = $1`, tenantA)
	id := s.replay(Replay{Webhook: 1, Missed: true})

	var sent []int64
	// deliver delivers the queued retries.
	deliver := func() {
		now := s.dueRetries(1)
		sent = append(sent, now...)
		s.exec(`INSERT INTO attempt (day, event, webhook, number, at, micros, class, status)
			SELECT $1, event, webhook, 1, now(), 1, 'delivered', 204 FROM retry`, testDay())
		s.exec(`DELETE FROM retry`)
	}
	s.advance()
	if got := s.state(id); got.Queued != replayOutstanding || got.Waiting != replayOutstanding || got.State != ReplayRunning {
		t.Errorf("before anything is delivered, it says %+v", got)
	}
	s.advance() // there is no room
	if n := len(s.dueRetries(1)); n != replayOutstanding {
		t.Errorf("%d deliveries wait", n)
	}
	former := s.leader
	s.lead()
	s.exec(`DELETE FROM retry WHERE event > 500`) // room for the former leader, who may not take it
	if _, err := former.AdvanceReplays(t.Context(), realms); !errors.Is(err, ErrFenced) {
		t.Errorf("the former leader: %v, want ErrFenced", err)
	}
	if got := s.state(id); got.Cursor != replayOutstanding || got.Queued != replayOutstanding {
		t.Errorf("the former leader has left %+v", got)
	}
	s.exec(`INSERT INTO retry (event, webhook, attempts, due, class, status) SELECT n, 1, 0, now(), '', 0 FROM generate_series(501, 1000) AS n`)
	for range 3 {
		deliver()
		s.lead()
		s.advance()
	}
	deliver()
	slices.Sort(sent)
	want := make([]int64, 2500)
	for i := range want {
		want[i] = int64(i) + 1
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
	if got := s.state(id); got.State != ReplayDone || got.Delivered() != 2500 || got.Cursor != 2500 {
		t.Errorf("in the end it says %+v", got)
	}
}

// The rate follows the clock: unused rate does not accumulate beyond the burst.
func TestReplay_KeepsItsRate(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	s.log(make([]Event, 100)...)
	s.exec(`UPDATE event SET tenant = $1`, tenantA)
	id := s.replay(Replay{Webhook: 1, Rate: 10})
	step := func(ago string, want int64) {
		t.Helper()
		s.exec(`UPDATE replay SET updated = clock_timestamp() - $1::interval`, ago)
		more, err := s.leader.AdvanceReplays(t.Context(), realms)
		s.must(err)
		if got := s.state(id); got.Queued != want || more {
			t.Errorf("%s later %d were queued, want %d (more: %t)", ago, got.Queued, want, more)
		}
	}
	step("-1 h", 0) // the clock was set back
	before := time.Now()
	step("1 h", 20)
	if got := s.state(id).Updated; got.Before(before.Add(-time.Second)) || got.After(time.Now().Add(time.Second)) {
		t.Errorf("after all that it may have, the rate is used up to %s", got)
	}
	step("1 h", 40)
}

func TestReplay_IsCanceledWithItsWebhook(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	s.log(Event{Tenant: tenantA})
	id := s.replay(Replay{Webhook: 1})
	s.exec(`UPDATE webhook SET enabled = false`)
	s.advance()
	if got := s.state(id); got.State != ReplayRunning || got.Queued != 0 {
		t.Errorf("while the webhook is switched off, it says %+v", got)
	}
	s.exec(`UPDATE webhook SET enabled = true, removed_after = 1`)
	s.advance()
	if got := s.state(id); got.State != ReplayCanceled || got.Queued != 0 {
		t.Errorf("after the webhook was removed, it says %+v", got)
	}
	orphan := s.replay(Replay{Webhook: 77})
	canceled := s.replay(Replay{Webhook: 1})
	if found, err := s.store.CancelReplay(t.Context(), canceled); err != nil || !found {
		t.Errorf("canceled: %t, %v", found, err)
	}
	if found, err := s.store.CancelReplay(t.Context(), canceled); err != nil || found {
		t.Errorf("canceled twice: %t, %v", found, err)
	}
	s.advance()
	if a, b := s.state(orphan), s.state(canceled); a.State != ReplayCanceled || b.State != ReplayCanceled {
		t.Errorf("they are %s and %s", a.State, b.State)
	}
	if _, err := s.store.CountReplay(t.Context(), &Replay{Webhook: 77}, realms); !errors.Is(err, ErrWebhookGone) {
		t.Errorf("count: %v", err)
	}
}
