package outbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// A delivery that is retried by command keeps an order key that still blocks others, and loses one that later events have passed.
func TestRetry_OrderKeys(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*", Exclusive: true})
	s.webhook(Webhook{ID: 2, Origin: OriginConfig, Tenant: "*"})
	s.log(make([]Event, 5)...)
	s.exec(`INSERT INTO retry (event, webhook, attempts, due, class, status, order_key) VALUES
		(1, 1, 3, 'infinity', 'http_5xx', 500, 'r:a'), (2, 1, 3, 'infinity', 'http_5xx', 500, '*'), (3, 1, 3, 'infinity', 'timeout', 0, NULL),
		(4, 1, 3, now() + interval '1 h', 'http_5xx', 500, 'r:a'), (5, 2, 3, 'infinity', 'http_5xx', 500, NULL), (99, 1, 3, 'infinity', 'http_5xx', 500, NULL)`)
	retry := func(f RetryFilter, want int64) {
		t.Helper()
		if n, err := s.store.Retry(t.Context(), f); err != nil || n != want {
			t.Errorf("%+v: %d, %v; want %d", f, n, err, want)
		}
	}
	due := func() map[int64]string {
		rows, err := s.store.pool.Query(t.Context(), `SELECT event, coalesce(order_key, '') FROM retry WHERE due <= now() AND attempts = 0`)
		s.must(err)
		keys := map[int64]string{}
		var id int64
		var key string
		_, err = pgx.ForEachRow(rows, []any{&id, &key}, func() error { keys[id] = key; return nil })
		s.must(err)
		return keys
	}
	retry(RetryFilter{Webhook: 1, Class: "http_5xx", DeadOnly: true}, 2) // the event of another is gone
	if diff := cmp.Diff(map[int64]string{1: "replay:a", 2: "*"}, due()); diff != "" {
		t.Error(diff)
	}
	retry(RetryFilter{Event: 4, Webhook: 1}, 1)
	retry(RetryFilter{Event: 4, Webhook: 2}, 0)
	retry(RetryFilter{DeadOnly: true}, 2)
	if diff := cmp.Diff(map[int64]string{1: "replay:a", 2: "*", 3: "", 4: "r:a", 5: ""}, due()); diff != "" {
		t.Error(diff)
	}
}

// Skip works on a day without partitions, and for an event past retention.
func TestSkip(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	s.log(make([]Event, 2)...)
	s.exec(`DROP TABLE attempt_` + testDay().Format(dayFormat))
	s.exec(`INSERT INTO retry (event, webhook, attempts, due, class, status) VALUES (2, 1, 3, 'infinity', 'http_5xx', 500), (99, 1, 3, now(), 'http_5xx', 500)`)
	for _, c := range []struct {
		event, webhook int64
		want           bool
	}{{2, 1, true}, {2, 1, false}, {99, 1, true}, {1, 1, false}} {
		if skipped, err := s.store.Skip(t.Context(), c.event, c.webhook); err != nil || skipped != c.want {
			t.Errorf("event %d: %t, %v", c.event, skipped, err)
		}
	}
	attempts, err := s.store.Attempts(t.Context(), 2, 0)
	s.must(err)
	if len(attempts) != 1 || attempts[0].Class != "canceled" || attempts[0].Error != skippedManually || attempts[0].Number != 4 {
		t.Errorf("attempts: %+v", attempts)
	}
}
