package outbox

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// fixture is an outbox with a leader, and an event log that the test fills.
type fixture struct {
	*testing.T
	store  *Store
	member *Member
	leader *Leader
	last   int64
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	store, err := Open(clustertest.Database(t), "iam_relay", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s := &fixture{T: t, store: store}
	s.must(store.Migrate(t.Context()))
	s.lead()
	s.must(s.leader.EnsurePartitions(t.Context()))
	return s
}

func (s *fixture) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// lead makes another relay the leader; the old one ends as after kill -9.
func (s *fixture) lead() {
	s.Helper()
	if s.leader != nil {
		s.leader.keeping()
		<-s.leader.ended // which uses the connection
		s.must(s.leader.lock.Close(s.Context()))
	}
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Minute)
	defer cancel()
	var err error
	s.member, err = s.store.Join(ctx, "test")
	s.must(err)
	leader, err := s.member.Lead(ctx, func() {})
	s.must(err)
	s.Cleanup(leader.Close)
	s.leader = leader
}

func (s *fixture) webhook(w Webhook) {
	s.Helper()
	w.Key, w.Enabled = fmt.Sprint("hook-", w.ID), true
	if w.Events == nil {
		w.Events = []string{"*"}
	}
	s.must(s.leader.SaveWebhooks(s.Context(), []Webhook{w}))
}

// log appends events that are already delivered.
func (s *fixture) log(events ...Event) {
	s.Helper()
	var done Delivery
	for i := range events {
		s.last++
		e := &events[i]
		e.ID, e.WebhookID, e.LSN, e.Body = s.last, fmt.Sprint("evt_", s.last), cdc.LSN(s.last), []byte(`{"event":"e","timestamp":"t","resource_id":"r","data":{}}`)
		if e.Name == "" {
			e.Name = "user.created"
		}
		if e.Occurred.IsZero() {
			e.Occurred = time.Now()
		}
		if e.Webhooks == nil {
			e.Webhooks = []int64{}
		}
		for _, w := range e.Webhooks {
			done.Attempts = append(done.Attempts, Attempt{Event: e.ID, Webhook: w, Number: 1, At: time.Now(), Class: "delivered", Status: 204})
		}
	}
	s.must(s.leader.Commit(s.Context(), &Chunk{Events: events}, cdc.LSN(s.last), s.last))
	done.Delivered = s.last
	_, err := s.member.Record(s.Context(), s.leader.Epoch(), &done)
	s.must(err)
}

func (s *fixture) replay(r Replay) int64 {
	s.Helper()
	if r.Through == 0 {
		_, err := s.store.Span(s.Context(), &r)
		s.must(err)
	}
	if r.Rate == 0 {
		r.Rate = 1_000_000
	}
	id, err := s.store.CreateReplay(s.Context(), &r)
	s.must(err)
	return id
}

// exec runs an SQL statement.
func (s *fixture) exec(sql string, arguments ...any) {
	s.Helper()
	_, err := s.store.pool.Exec(s.Context(), sql, arguments...)
	s.must(err)
}

// dueRetries returns the event ids of a webhook's retries that are due.
func (s *fixture) dueRetries(webhook int64) []int64 {
	s.Helper()
	rows, err := s.store.pool.Query(s.Context(), `SELECT event FROM retry WHERE webhook = $1 AND due <= now() AND attempts = 0 ORDER BY event`, webhook)
	s.must(err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	s.must(err)
	if len(ids) == 0 {
		return nil
	}
	return ids
}

// advance runs steps until the replays have nothing more to do, regardless of their rate.
func (s *fixture) advance() {
	s.Helper()
	for {
		s.exec(`UPDATE replay SET updated = updated - interval '10 s' WHERE state = 'running'`)
		more, err := s.leader.AdvanceReplays(s.Context(), realms)
		s.must(err)
		if !more {
			return
		}
	}
}

func (s *fixture) state(id int64) ReplayProgress {
	s.Helper()
	all, err := s.store.Replays(s.Context(), id, 1)
	s.must(err)
	if len(all) != 1 {
		s.Fatalf("%d replays have the number %d", len(all), id)
	}
	return all[0]
}
