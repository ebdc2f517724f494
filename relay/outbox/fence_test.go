package outbox

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Run(m)) }

// A relay that was frozen or cut off may not notice that it no longer leads. Every kind of write fails then, and is rolled back as a whole.
func TestLeader_FencedWritesFail(t *testing.T) {
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
	join := func() *Member {
		member, err := store.Join(ctx, "test")
		if err != nil {
			t.Fatal(err)
		}
		return member
	}
	formerMember := join()
	former, err := formerMember.Lead(ctx, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(former.Close)
	if err := former.EnsurePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	former.keeping()
	<-former.ended
	if err := former.lock.Close(ctx); err != nil { // what it does not notice
		t.Fatal(err)
	}
	leader, err := join().Lead(ctx, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leader.Close)

	mirror := former.NewMirror(nil)
	event := Event{ID: 1, WebhookID: "evt_1", Name: "user.created", Resource: "r", Occurred: time.Now(), LSN: 1, Body: []byte("{}"), Webhooks: []int64{1}}
	chunk := func() *Chunk {
		c := &Chunk{Events: []Event{event}}
		c.upsert(users, "1", cdc.Row{cdc.TextValue("1"), cdc.NullValue, cdc.NullValue}, nil, nil)
		return c
	}
	for name, write := range map[string]func() error{
		"Commit": func() error { return former.Commit(ctx, chunk(), 99, 1) },
		"Record": func() error {
			_, err := formerMember.Record(ctx, former.Epoch(), &Delivery{Retries: []Retry{{Event: 1, Webhook: 1, Attempts: 1}}, Delivered: 1})
			return err
		},
		"SaveWebhooks": func() error {
			return former.SaveWebhooks(ctx, []Webhook{{ID: 1, Origin: OriginConfig, Key: "k", Tenant: "*", Enabled: true}})
		},
		"StartCopy": func() error { return former.StartCopy(ctx, "slot") },
		"Copy": func() error {
			c, err := former.BeginCopy(ctx, nil)
			if err != nil {
				return err
			}
			return errors.Join(c.Start(ctx, cdc.Position{LSN: 99}), c.Rollback(ctx))
		},
		"Large": func() error {
			l, err := former.Begin(ctx, mirror)
			if err != nil {
				return err
			}
			if err := l.Write(ctx, chunk()); err != nil {
				return err
			}
			return errors.Join(l.Commit(ctx, 99, 1, nil), l.End(mirror))
		},
	} {
		if err := write(); !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", name, err)
		}
	}
	var written int
	if err := store.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM mirror) + (SELECT count(*) FROM retry)
		+ (SELECT count(*) FROM webhook) + (SELECT count(*) FROM position WHERE lsn <> '0/0' OR last_event <> 0 OR state <> 'new')
		+ (SELECT delivered FROM watermark)`).Scan(&written); err != nil {
		t.Fatal(err)
	}
	if written != 0 {
		t.Errorf("the former leader has left %d traces", written)
	}
	if err := leader.Commit(ctx, chunk(), 100, 1); err != nil {
		t.Errorf("the leader itself: %v", err)
	}
}

// A former leader does not notice at once that another relay leads and has read the same transaction. Its commit fails because of the epoch,
// not because the rows exist: a duplicate key would look like a fault of the outbox.
func TestFormerLeader_AfterTheNewOneHasReadTheSame(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	event := Event{ID: 1, WebhookID: "evt_1", Name: "user.created", Resource: "r", Occurred: time.Now(), LSN: 1, Body: []byte("{}")}
	chunk := &Chunk{Events: []Event{event}, Delayed: []DelayedEvent{{Event: event, CancelKey: "k", Due: time.Now()}}}
	s.must(s.leader.Commit(t.Context(), chunk, 99, 1))
	former := *s.leader
	former.epoch--
	if err := former.Commit(t.Context(), chunk, 99, 1); !errors.Is(err, ErrFenced) {
		t.Errorf("Commit: %v, want ErrFenced", err)
	}
	mirror := former.NewMirror(nil)
	large, err := former.Begin(t.Context(), mirror)
	s.must(err)
	if err := large.Write(t.Context(), chunk); !errors.Is(err, ErrFenced) {
		t.Errorf("Write: %v, want ErrFenced", err)
	}
	s.must(large.End(mirror))
	if err := s.leader.Commit(t.Context(), chunk, 99, 1); err == nil || errors.Is(err, ErrFenced) {
		t.Errorf("the leader stores an event twice: %v", err)
	}
}
