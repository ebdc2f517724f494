package cdc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// shutdownCase is a state of the stream in which the server is stopped.
type shutdownCase struct {
	size int // of the channel
	// busy prepares the state of the stream.
	busy func(s *source, r *running)
	mode string // of the shutdown
	// idle: the consumer acknowledges idle positions.
	idle bool
}

// A relay must not delay the shutdown of the server, whatever it is waiting for.
func TestStream_DoesNotDelayServerShutdown(t *testing.T) {
	for name, test := range map[string]shutdownCase{
		"fast, idle":                            {10, func(*source, *running) {}, "fast", true},
		"smart, idle":                           {10, func(*source, *running) {}, "smart", true},
		"fast, transactions pending":            {10, pending, "fast", false},
		"smart, transactions pending":           {10, pending, "smart", false},
		"fast, consumer blocked":                {1, blocked, "fast", false},
		"fast, consumer blocked for long":       {1, blockedLong, "fast", false},
		"fast, consumer blocked, socket filled": {1, blockedFull, "fast", false},
		"immediate, transactions pending":       {10, pending, "immediate", false},
	} {
		// Not in parallel: with eight servers at once, none of them stops quickly.
		t.Run(name, func(t *testing.T) {
			c := clustertest.Server(t, cluster.Options{})
			s := newSourceAt(t, c.URL("postgres"), schema, mapped)
			test.stop(t, c, s)
			if err := c.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			nothingLost(t, s)
		})
	}
}

// stop stops the server while it streams, and checks how long that takes.
func (test shutdownCase) stop(t *testing.T, c *cluster.Cluster, s *source) {
	t.Helper()
	r := s.stream(s.start, test.size)
	until(t, "the slot is in use", func() bool { return s.slot().Active })
	test.busy(s, r)
	if err := s.conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if test.size == 10 {
		go func() {
			for m := range r.messages {
				if m.Transaction == nil && test.idle {
					r.Acknowledge(m.Idle)
				}
			}
		}()
		t.Cleanup(func() { close(r.messages) })
	}
	begin := time.Now()
	if err := c.Stop(test.mode); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	err := r.ended()
	t.Logf("stopped after %v, the stream ended with: %v", took.Round(time.Millisecond), err)
	if took > 2*time.Second {
		t.Errorf("the server took %v to stop, want at most 2 s", took)
	}
	if !cdc.IsTransient(err) {
		t.Errorf("the stream ended with %v, want a transient error", err)
	}
}

// nothingLost checks that a new stream gets every row.
func nothingLost(t *testing.T, s *source) {
	t.Helper()
	s.conn = connect(t, s.url)
	var rows, got int
	if err := s.conn.QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	again := s.stream(s.start, 10)
	for _, transaction := range again.idle(s.lsn()) {
		got += transaction.Len()
	}
	if got != rows {
		t.Errorf("%d changes came after the restart, want %d", got, rows)
	}
}

func pending(s *source, r *running) {
	for i := range 3 {
		s.exec(fmt.Sprintf("INSERT INTO users VALUES (%d)", i))
	}
	until(s.t, "all is received", func() bool { return len(r.messages) >= 3 })
}

func blocked(s *source, r *running) {
	for i := range 3 {
		s.exec(fmt.Sprintf("INSERT INTO users VALUES (%d)", i))
	}
	until(s.t, "the channel is full", func() bool { return len(r.messages) == 1 })
}

func blockedLong(s *source, r *running) {
	blocked(s, r)
	// The source opens a second session to watch for a shutdown.
	until(s.t, "the server is watched", func() bool {
		var sessions int
		err := s.conn.QueryRow(s.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'iam-relay' AND backend_type = 'client backend'").Scan(&sessions)
		if err != nil {
			s.t.Fatal(err)
		}
		return sessions == 1
	})
}

// blockedFull makes the server block while sending.
func blockedFull(s *source, r *running) {
	blockedLong(s, r)
	s.exec("INSERT INTO users SELECT i, repeat(md5(i::text), 10) FROM generate_series(10, 30000) AS i")
}
