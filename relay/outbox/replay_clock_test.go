package outbox

import (
	"slices"
	"testing"
	"time"
)

// Events are found by commit time even if the source's clock is wrong; the outbox's clock decides on their partition.
func TestReplay_SinceWithAWrongSourceClock(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	now := time.Now()
	s.log(
		Event{Tenant: tenantA, Occurred: now.AddDate(0, 0, -40)},
		Event{Tenant: tenantA, Occurred: now.AddDate(0, 0, 40)},
		Event{Tenant: tenantA, Occurred: now.Add(48 * time.Hour)},
		Event{Tenant: tenantA, Occurred: now},
	)
	for name, test := range map[string]struct {
		since time.Duration
		want  []int64
	}{
		"far ahead": {39 * 24 * time.Hour, []int64{2}}, "two days ahead": {47 * time.Hour, []int64{2, 3}},
		"now": {-time.Hour, []int64{2, 3, 4}}, "far behind": {-41 * 24 * time.Hour, []int64{1, 2, 3, 4}},
	} {
		since := now.Add(test.since)
		events, err := s.store.Events(t.Context(), EventFilter{Since: since}, 10)
		s.must(err)
		var ids []int64
		for i := range events {
			ids = append(ids, events[i].ID)
		}
		if slices.Sort(ids); !slices.Equal(ids, test.want) {
			t.Errorf("%s: the log has %v, want %v", name, ids, test.want)
		}
		if first, err := s.store.FirstEventSince(t.Context(), since); err != nil || first == 0 || first > test.want[0] {
			t.Errorf("%s: the first event is said to be %d, want at most %d (%v)", name, first, test.want[0], err)
		}
		s.replay(Replay{Webhook: 1, Since: since})
		s.advance()
		if got := s.dueRetries(1); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v are replayed, want %v", name, got, test.want)
		}
		s.exec(`DELETE FROM retry`)
	}
}

// A replay's progress stays correct if the outbox's clock is set back meanwhile.
func TestReplay_ProgressWithAClockSetBack(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	s.log(Event{Tenant: tenantA}, Event{Tenant: tenantA})
	id := s.replay(Replay{Webhook: 1})
	// As if it had been created before the clock was set back by an hour.
	s.exec(`UPDATE replay SET created = created + interval '1 hour'`)
	s.store.clock.set.Store(int64(-time.Hour))
	_, err := s.leader.FollowClock(t.Context())
	s.must(err)
	s.advance()
	if p := s.state(id); p.Waiting != 2 || p.Delivered() != 0 {
		t.Errorf("%d deliveries wait and %d are delivered, want 2 and 0", p.Waiting, p.Delivered())
	}
}
