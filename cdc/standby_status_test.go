package cdc_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

func TestAcknowledge_ConfirmsNothingElse(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.config.WALSenderTimeout = time.Second // for more frequent status updates
	r := s.stream(s.start, 1000)
	confirmedAtStart := s.slot().Confirmed
	var transactions []*cdc.Transaction
	for i := range 20 {
		s.exec(fmt.Sprintf("INSERT INTO users VALUES (%d)", i))
		transactions = append(transactions, r.next())
	}
	// Several status updates are sent meanwhile, and the server requests replies.
	pings := 0
	for deadline := time.After(2 * time.Second); pings >= 0; {
		select {
		case <-time.After(50 * time.Millisecond):
			r.Ping()
			pings++
		case <-r.messages:
		case <-deadline:
			pings = -1
		}
	}
	if got := s.slot().Confirmed; got != confirmedAtStart {
		t.Errorf("%s was confirmed without an acknowledgement, want %s", got, confirmedAtStart)
	}
	for _, i := range []int{4, 2, 11} {
		r.Acknowledge(transactions[i].End)
		want := transactions[max(i, 4)].End
		until(t, "the acknowledgement arrives", func() bool {
			got := s.slot().Confirmed
			if got > want {
				t.Fatalf("%s was confirmed, more than the acknowledged %s", got, want)
			}
			return got == want
		})
	}
	// A position that was not handed over cannot be durable.
	r.Acknowledge(transactions[19].End + 1<<40)
	until(t, "all is acknowledged", func() bool { return s.slot().Confirmed >= transactions[19].End })
	if got, end := s.slot().Confirmed, s.lsn(); got > end {
		t.Errorf("%s was confirmed, past the end of the WAL at %s", got, end)
	}
}

func TestStream_ResumesFromPosition(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 100)
	other := connect(t, s.url)
	// Its rows are first in the WAL, and its commit last: the position of a row does not show whether it is durable.
	s.exec(`BEGIN; INSERT INTO users VALUES (0)`)
	var ends []cdc.LSN
	for i := range 4 {
		if _, err := other.Exec(t.Context(), "INSERT INTO users VALUES ($1)", i+1); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, r.next().End)
	}
	s.exec(`COMMIT`)
	r.next()
	// Nothing was acknowledged, so the server sends everything again.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	until(t, "the slot is free", func() bool { return !s.slot().Active })
	again := s.stream(ends[1], 100)
	var got []string
	for _, transaction := range again.idle(s.lsn()) {
		got = append(got, show(t, transaction)...)
	}
	want := []string{"insert users 3 new ('3', null, null)", "insert users 4 new ('4', null, null)", "insert users 0 new ('0', null, null)"}
	diff(t, "changes", want, got)
}

func TestStream_IdleAdvancesOverUnmappedCommits(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 10)
	s.exec(`INSERT INTO foreign_table SELECT generate_series(1, 1000)`, `SELECT pg_logical_emit_message(true, 'p', 'x')`, `SELECT pg_logical_emit_message(false, 'p', 'x')`)
	end := s.lsn()
	if transactions := r.idle(end); len(transactions) != 0 {
		t.Errorf("got %d transactions, want none", len(transactions))
	}
	r.Acknowledge(end)
	until(t, "the slot advances", func() bool { return s.slot().Confirmed >= end })
	if r.Received() < end || time.Since(r.LastMessage()) > patience {
		t.Errorf("received %s at %v, want at least %s recently", r.Received(), r.LastMessage(), end)
	}
}

// The server would end a silent connection after 5 s.
func TestStream_SurvivesWALSenderTimeout(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ size, transactions int }{
		"nothing happens": {10, 0},
		"transactions wait unacknowledged in the channel": {10, 3},
		"the consumer takes nothing":                      {1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, schema, mapped)
			s.config.StallLimit = time.Minute
			r := s.stream(s.start, test.size)
			until(t, "the slot is in use", func() bool { return s.slot().Active })
			pid := s.slot().ActivePID
			for i := range test.transactions {
				s.exec(fmt.Sprintf("INSERT INTO users VALUES (%d)", i))
			}
			select {
			case err := <-r.done:
				close(r.done)
				t.Fatalf("the stream ended: %v", err)
			case <-time.After(12 * time.Second):
			}
			if got := s.slot().ActivePID; got != pid {
				t.Errorf("walsender %d replaced %d", got, pid)
			}
			for range test.transactions {
				r.next()
			}
		})
	}
}

func TestStream_AcknowledgesWhileTheConsumerIsBusy(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.config.StallLimit = time.Minute
	r := s.stream(s.start, 0)
	s.exec(`INSERT INTO users VALUES (1)`, `INSERT INTO users VALUES (2)`)
	first := r.next() // the second one waits for the consumer
	r.Acknowledge(first.End)
	until(t, "the acknowledgement arrives", func() bool { return s.slot().Confirmed == first.End })
	r.next()
}

func TestStream_EndsWhenTheConsumerStalls(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.config.StallLimit = 300 * time.Millisecond
	r := s.stream(s.start, 1)
	s.exec(`INSERT INTO users VALUES (1)`, `INSERT INTO users VALUES (2)`)
	err := r.ended()
	if !errors.Is(err, cdc.ErrStalled) || !cdc.IsTransient(err) {
		t.Errorf("the stream ended with %v, want a transient ErrStalled", err)
	}
	until(t, "the slot is free", func() bool { return !s.slot().Active })
	again := s.stream(s.start, 10)
	var got []string
	for range 2 {
		got = append(got, again.changes()...)
	}
	diff(t, "changes", []string{"insert users 1 new ('1', null, null)", "insert users 2 new ('2', null, null)"}, got)
}

// The transactions that the consumer has not closed take a limited amount of memory, however large the channel is.
func TestStream_LimitsOutstandingTransactions(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.config.MemoryLimit, s.config.StallLimit = 64<<10, 300*time.Millisecond
	const transactions = 40
	for i := range transactions {
		s.exec(fmt.Sprintf(`INSERT INTO users VALUES (%d, repeat('x', 40000))`, i))
	}
	r := s.stream(s.start, transactions)
	if err := r.ended(); !errors.Is(err, cdc.ErrStalled) {
		t.Errorf("the stream ended with %v, want ErrStalled", err)
	}
	if held := len(r.messages) * 40000; held == 0 || held > 8*s.config.MemoryLimit {
		t.Errorf("the consumer has %d bytes outstanding", held)
	}
	s.config.StallLimit = 0
	again := s.stream(s.start, transactions)
	for range transactions {
		again.next().Close()
	}
}

func TestStream_Errors(t *testing.T) {
	t.Parallel()
	t.Run("slot active", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, schema, mapped)
		s.stream(s.start, 1)
		until(t, "the slot is in use", func() bool { return s.slot().Active })
		err := s.stream(s.start, 1).ended()
		if !errors.Is(err, cdc.ErrSlotActive) || !cdc.IsTransient(err) {
			t.Errorf("got error %v, want a transient ErrSlotActive", err)
		}
		if err := cdc.DropSlot(t.Context(), s.conn, s.config.Slot); !errors.Is(err, cdc.ErrSlotActive) {
			t.Errorf("dropping it gives %v, want ErrSlotActive", err)
		}
	})
	t.Run("slot missing", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, schema, mapped)
		for range 2 {
			if err := cdc.DropSlot(t.Context(), s.conn, s.config.Slot); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.stream(s.start, 1).ended(); !errors.Is(err, cdc.ErrSlotMissing) || cdc.IsTransient(err) {
			t.Errorf("got error %v, want a final ErrSlotMissing", err)
		}
	})
	t.Run("publication dropped", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, schema, mapped)
		s.exec(`DROP PUBLICATION "odd ""name"""`, `INSERT INTO users VALUES (1)`)
		if err := s.stream(s.start, 1).ended(); !errors.Is(err, cdc.ErrPublicationMissing) || cdc.IsTransient(err) {
			t.Errorf("got error %v, want a final ErrPublicationMissing", err)
		}
	})
	t.Run("no position", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, schema, mapped)
		if err := s.stream(0, 1).ended(); err == nil || cdc.IsTransient(err) {
			t.Errorf("got error %v, want a final one", err)
		}
	})
	t.Run("walsender ended by an administrator", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, schema, mapped)
		r := s.stream(s.start, 1)
		until(t, "the slot is in use", func() bool { return s.slot().Active })
		s.exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", s.slot().ActivePID))
		if err := r.ended(); !cdc.IsTransient(err) {
			t.Errorf("got error %v, want a transient one", err)
		}
	})
}

func TestStream_ReusesUnchangedRelations(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 10)
	var relations []*cdc.Relation
	for i, ddl := range []string{"", "ALTER TABLE users ADD COLUMN x int", "ALTER TABLE users ALTER COLUMN bio TYPE varchar"} {
		if ddl != "" {
			s.exec(ddl)
		}
		s.exec(fmt.Sprintf("INSERT INTO users VALUES (%d)", i))
		changes := r.next().Changes()
		relations = append(relations, changes[0].Relation)
	}
	if relations[0] != relations[1] || relations[1] == relations[2] || !slices.Equal(relations[2].Types, []uint32{23, 25, 1043}) {
		t.Errorf("relations %v, want the first twice and then one with the new type", relations)
	}
}
