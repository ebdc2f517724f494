package cdc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

func copyAll(t *testing.T, snapshot *cdc.Snapshot, table *cdc.Table) []cdc.Row {
	t.Helper()
	var rows []cdc.Row
	err := snapshot.Copy(t.Context(), table, func(row cdc.Row) error {
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// While a writer never pauses, each of its rows is either in the snapshot or in the stream.
func TestSnapshot_AndStreamHaveNoGapAndNoOverlap(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	writer := connect(t, s.url)
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan int)
	started := make(chan struct{})
	go func() {
		n := 0
		for ctx.Err() == nil {
			if _, err := writer.Exec(t.Context(), "INSERT INTO users VALUES ($1)", n); err != nil {
				t.Error(err)
				break
			}
			if n++; n == 100 {
				close(started)
			}
		}
		written <- n
	}()
	<-started
	s.config.Slot += "_b"
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot, false)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	r := s.stream(snapshot.LSN, 10_000)
	seen := map[string]int{}
	for range 100 {
		transaction := r.next()
		for c, err := range transaction.All() {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(c.Key)]++
		}
	}
	rows := copyAll(t, snapshot, users)
	stop()
	total := <-written
	for _, transaction := range r.idle(s.lsn()) {
		for c, err := range transaction.All() {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(c.Key)]++
		}
	}
	if len(rows) < 100 || len(seen) < 100 {
		t.Errorf("%d rows copied and %d streamed, want at least 100 of both", len(rows), len(seen))
	}
	for _, row := range rows {
		seen[row[0].Text]++
	}
	for n := range total {
		if seen[strconv.Itoa(n)] != 1 {
			t.Errorf("row %d came %d times", n, seen[strconv.Itoa(n)])
		}
	}
}

func TestSnapshot_CopyEqualsStream(t *testing.T) {
	t.Parallel()
	kinds := &cdc.Table{
		Schema: "public", Name: "kinds", KeyColumns: 1,
		Columns: append(columns("id", "t", "ts", "d", "i", "f", "b", "a", "j", "n"), cdc.Column{Name: "later", Optional: true}),
	}
	url := clustertest.Database(t)
	conn := connect(t, url)
	// Settings of the server and the database must not matter.
	for _, setting := range []string{"TimeZone = 'Asia/Kolkata'", "DateStyle = 'German'", "bytea_output = 'escape'", "IntervalStyle = 'iso_8601'", "extra_float_digits = 0"} {
		var name string
		if err := conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER DATABASE %s SET %s", name, setting)); err != nil {
			t.Fatal(err)
		}
	}
	s := newSourceAt(t, url, `CREATE TABLE kinds (id int PRIMARY KEY, t text, ts timestamptz, d date, i interval, f float8, b bytea, a text[], j jsonb, n text)`, []*cdc.Table{kinds})
	r := s.stream(s.start, 10)
	s.exec(`INSERT INTO kinds VALUES (1, E'\\ \t \n \r \b \f \x0b \\N é', '2026-01-02 03:04:05.678+00', '2026-01-02', '1 day 2 hours', 0.1, '\x00ff', '{a,"b c",NULL}', '{"k": "v\n"}', NULL)`)
	changes := r.next().Changes()
	want := cdc.Row{
		cdc.TextValue("1"), cdc.TextValue("\\ \t \n \r \b \f \v \\N é"), cdc.TextValue("2026-01-02 03:04:05.678+00"), cdc.TextValue("2026-01-02"),
		cdc.TextValue("1 day 02:00:00"), cdc.TextValue("0.1"), cdc.TextValue(`\x00ff`), cdc.TextValue(`{a,"b c",NULL}`), cdc.TextValue(`{"k": "v\n"}`),
		cdc.NullValue,
		{},
	}
	diff(t, "streamed row", want, changes[0].New)
	snapshot, err := cdc.CreateSlot(t.Context(), url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	diff(t, "copied rows", []cdc.Row{want}, copyAll(t, snapshot, kinds))

	missing := &cdc.Table{Schema: "public", Name: "missing", Columns: columns("id"), KeyColumns: 1, Optional: true}
	if rows := copyAll(t, snapshot, missing); rows != nil {
		t.Errorf("a missing table has rows: %v", rows)
	}
}

func TestSnapshot_TemporarySlotIsDroppedAtOnce(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.exec(`INSERT INTO users VALUES (1)`)
	s.config.Slot += "_t"
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot, true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	until(t, "the slot is gone", func() bool { return !s.slot().Exists })
	if rows := copyAll(t, snapshot, users); len(rows) != 1 {
		t.Errorf("rows %v", rows)
	}
}

func TestSnapshot_CopyStopsOnConsumerError(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.exec(`INSERT INTO users SELECT generate_series(1, 10000)`)
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	enough := errors.New("enough")
	if err := snapshot.Copy(t.Context(), users, func(cdc.Row) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got error %v, want the consumer's", err)
	}
}

func TestCreateSlot_CanceledWhileWaiting(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.exec(`BEGIN; INSERT INTO users VALUES (1)`) // CREATE_REPLICATION_SLOT waits for its end
	name := s.config.Slot + "_w"
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := cdc.CreateSlot(ctx, s.url, name, false)
		failed <- err
	}()
	watcher := connect(t, s.url)
	until(t, "the slot is being made", func() bool {
		slot, err := cdc.Slot(t.Context(), watcher, name)
		if err != nil {
			t.Fatal(err)
		}
		return slot.Exists
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want a cancellation", err)
	}
	s.exec(`COMMIT`)
	until(t, "the slot is gone", func() bool {
		slot, err := cdc.Slot(t.Context(), watcher, name)
		return err == nil && !slot.Exists
	})
}

func TestCreateSlot_Errors(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	_, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot, false)
	if !errors.Is(err, cdc.ErrSlotExists) || cdc.IsTransient(err) {
		t.Errorf("got error %v, want ErrSlotExists", err)
	}
	for _, name := range []string{"", "Upper", `with"quote`, string(slices.Repeat([]byte("x"), 64))} {
		if _, err := cdc.CreateSlot(t.Context(), s.url, name, false); err == nil {
			t.Errorf("slot name %q was accepted", name)
		}
	}
}
