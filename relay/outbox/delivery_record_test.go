package outbox

import (
	"context"
	"testing"
	"time"
)

// A batch that could not be recorded is recorded again, with the same times: those of the outbox's server, whatever this machine's clock.
func TestRecord_AgainAfterAFailureWithTheSameTimes(t *testing.T) {
	t.Parallel()
	ctx, store, conn := openStore(t)
	member, err := store.Join(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO iam_relay.webhook (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled)
		VALUES (1, 'config', 'a', '*', '', '', 'https://a.example.com', '{}', '{}', '{*}', true)`); err != nil {
		t.Fatal(err)
	}
	// As if this machine were 40 days behind.
	local := time.Now()
	store.clock.sampled.Store(&sample{server: local.AddDate(0, 0, 40), local: local})
	batch := &Delivery{
		Attempts: []Attempt{{Event: 1, Webhook: 1, Number: 1, At: local, Class: "timeout"}},
		Health:   map[int64]Health{1: {Pauses: 1, PausedUntil: local.Add(time.Minute), FailingSince: local}}, ResumeCounts: map[int64]int{1: 0},
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := member.Record(canceled, 0, batch); err == nil {
		t.Fatal("recorded although the context had ended")
	}
	if _, err := member.Record(ctx, 0, batch); err != nil {
		t.Fatal(err)
	}
	var at, pausedUntil, failingSince time.Time
	if err := conn.QueryRow(ctx, `SELECT at, paused_until, failing_since FROM iam_relay.attempt, iam_relay.webhook`).Scan(&at, &pausedUntil, &failingSince); err != nil {
		t.Fatal(err)
	}
	const precision = time.Second // timestamptz has microseconds
	for name, difference := range map[string]time.Duration{
		"attempt":       at.Sub(local.AddDate(0, 0, 40)),
		"paused until":  pausedUntil.Sub(local.AddDate(0, 0, 40).Add(time.Minute)),
		"failing since": failingSince.Sub(local.AddDate(0, 0, 40)),
	} {
		if difference.Abs() > precision {
			t.Errorf("%s: stored %s off", name, difference)
		}
	}
}
