package cdc_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// runner removes the shared cluster before goroutines are counted.
type runner struct{ m *testing.M }

func (r runner) Run() int { return clustertest.Run(r.m) }

func TestMain(m *testing.M) { goleak.VerifyTestMain(runner{m}) }

// patience is the timeout for everything that a test waits for.
const patience = 20 * time.Second

const schema = `
CREATE TABLE users (id int PRIMARY KEY, name text, bio text, secret text);
CREATE TABLE user_role (user_id int, role_id int, note text, PRIMARY KEY (user_id, role_id));
CREATE TABLE audit (id int PRIMARY KEY, name text, bio text, secret text);
ALTER TABLE audit REPLICA IDENTITY FULL;
CREATE TABLE foreign_table (id int PRIMARY KEY)`

func columns(names ...string) []cdc.Column {
	var c []cdc.Column
	for _, name := range names {
		c = append(c, cdc.Column{Name: name})
	}
	return c
}

var (
	users    = &cdc.Table{Schema: "public", Name: "users", Columns: columns("id", "name", "bio"), KeyColumns: 1}
	userRole = &cdc.Table{Schema: "public", Name: "user_role", Columns: columns("user_id", "role_id", "note"), KeyColumns: 2}
	audit    = &cdc.Table{Schema: "public", Name: "audit", Columns: columns("id", "name", "bio"), KeyColumns: 1}
	mapped   = []*cdc.Table{users, userRole, audit}
)

var slots atomic.Int64

// source is a database with the schema, a publication and a slot.
type source struct {
	t      *testing.T
	url    string
	conn   *pgx.Conn
	config cdc.SourceConfig
	start  cdc.LSN
	last   *running
}

func newSource(t *testing.T, ddl string, tables []*cdc.Table) *source {
	t.Helper()
	return newSourceAt(t, clustertest.Database(t), ddl, tables)
}

func newSourceAt(t *testing.T, url, ddl string, tables []*cdc.Table) *source {
	t.Helper()
	s := &source{t: t, url: url, conn: connect(t, url)}
	s.exec(ddl)
	s.prepare(tables)
	return s
}

// prepare creates a publication and a slot.
func (s *source) prepare(tables []*cdc.Table) {
	t, url := s.t, s.url
	t.Helper()
	conn, err := cdc.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	catalog, err := cdc.ReadCatalog(t.Context(), conn, tables)
	if err != nil {
		t.Fatal(err)
	}
	if problems := catalog.Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	s.config = cdc.SourceConfig{
		URL: url, Slot: fmt.Sprintf("cdc_%d", slots.Add(1)), Publication: cmp.Or(s.config.Publication, `odd "name"`), Tables: tables, Catalog: catalog, SpillDir: t.TempDir(),
	}
	if _, err := cdc.EnsurePublication(t.Context(), conn, s.config.Publication, tables); err != nil {
		t.Fatal(err)
	}
	snapshot, err := cdc.CreateSlot(t.Context(), url, s.config.Slot, false)
	if err != nil {
		t.Fatal(err)
	}
	snapshot.Close()
	s.start = snapshot.LSN
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn.Close(ctx) // The server may be stopped by now.
	})
	return conn
}

func (s *source) exec(statements ...string) {
	s.t.Helper()
	for _, sql := range statements {
		if _, err := s.conn.Exec(s.t.Context(), sql); err != nil {
			s.t.Fatalf("%s: %v", sql, err)
		}
	}
}

func (s *source) lsn() cdc.LSN {
	s.t.Helper()
	server, err := cdc.InspectServer(s.t.Context(), s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return server.Current
}

func (s *source) slot() cdc.SlotStatus {
	s.t.Helper()
	status, err := cdc.Slot(s.t.Context(), s.conn, s.config.Slot)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// running is a running stream.
type running struct {
	*cdc.Source
	t        *testing.T
	messages chan cdc.Message
	done     chan error
	ctx      context.Context // done once the stream was stopped or has ended
	cancel   context.CancelFunc
}

// stream starts a stream into a channel of the given size.
func (s *source) stream(from cdc.LSN, size int) *running {
	s.t.Helper()
	s.awaitRelease()
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &running{Source: cdc.NewSource(s.config), t: s.t, messages: make(chan cdc.Message, size), done: make(chan error, 1), ctx: ctx, cancel: cancel}
	go func() { r.done <- r.Stream(ctx, from, r.messages) }()
	s.t.Cleanup(func() { r.stop() })
	s.last = r
	return r
}

// awaitRelease waits until the server has noticed that the last stream has ended: until then, the slot is in use. A server that is down has
// released it.
func (s *source) awaitRelease() {
	if s.last == nil || s.last.ctx.Err() == nil {
		return
	}
	until(s.t, "the slot is released", func() bool {
		status, err := cdc.Slot(s.t.Context(), s.conn, s.config.Slot)
		return err != nil || !status.Active
	})
}

// stop ends the stream and returns its error; nil if stop ended it.
func (r *running) stop() error {
	r.cancel()
	err, ok := <-r.done
	if ok {
		close(r.done)
	}
	for len(r.messages) > 0 {
		if m := <-r.messages; m.Transaction != nil {
			m.Transaction.Close()
		}
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// next waits for the next transaction.
func (r *running) next() *cdc.Transaction {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-r.messages:
			if m.Transaction != nil {
				return m.Transaction
			}
		case err := <-r.done:
			close(r.done)
			r.t.Fatalf("the stream ended: %v", err)
		case <-timeout:
			r.t.Fatal("no transaction arrived")
		}
	}
}

// changes waits for the next transaction and formats its changes.
func (r *running) changes() []string {
	r.t.Helper()
	return show(r.t, r.next())
}

// idle waits until everything before the position has been handed over, and returns the transactions.
func (r *running) idle(until cdc.LSN) (transactions []*cdc.Transaction) {
	r.t.Helper()
	timeout := time.After(patience)
	r.Ping()
	for {
		select {
		case m := <-r.messages:
			switch {
			case m.Transaction != nil:
				transactions = append(transactions, m.Transaction)
			case m.Idle >= until:
				return transactions
			default:
				r.Ping()
			}
		case err := <-r.done:
			close(r.done)
			r.t.Fatalf("the stream ended: %v", err)
		case <-timeout:
			r.t.Fatalf("no idle position reached %s", until)
		}
	}
}

// ended waits for the end of the stream and returns its error.
func (r *running) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.cancel()
		close(r.done)
		return err
	case <-time.After(patience):
		r.t.Fatal("the stream did not end")
	}
	return nil
}

// show formats the changes of a transaction, checks that they are ordered, and closes it.
func show(t *testing.T, transaction *cdc.Transaction) []string {
	t.Helper()
	defer transaction.Close()
	var lines []string
	seq := -1
	for c, err := range transaction.All() {
		if err != nil {
			t.Fatal(err)
		}
		if c.Seq <= seq {
			t.Errorf("change %d comes after change %d", c.Seq, seq)
		}
		seq = c.Seq
		lines = append(lines, showChange(c))
	}
	return lines
}

func showChange(c cdc.Change) string {
	line := fmt.Sprintf("%s %s", c.Op, c.Relation.Name)
	if c.Op != cdc.Truncate {
		line += " " + strings.ReplaceAll(string(c.Key), "\x1f", "/")
	}
	if c.OldKey != "" {
		line += " from " + string(c.OldKey)
	}
	if c.Old != nil {
		line += " old " + showRow(c.Old)
	}
	if c.New != nil {
		line += " new " + showRow(c.New)
	}
	return line
}

func showRow(row cdc.Row) string {
	values := make([]string, len(row))
	for i, v := range row {
		switch v.Kind {
		case cdc.Absent:
			values[i] = "absent"
		case cdc.Unchanged:
			values[i] = "unchanged"
		case cdc.Null:
			values[i] = "null"
		case cdc.Text:
			values[i] = "'" + v.Text + "'"
			if len(v.Text) > 40 {
				values[i] = fmt.Sprintf("%d bytes", len(v.Text))
			}
		}
	}
	return "(" + strings.Join(values, ", ") + ")"
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// until polls a condition of the database.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timeout waiting until %s", what)
		}
	}
}

// as returns the URL with another role.
func as(t *testing.T, database, role string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func text(n int) string { return strconv.Itoa(n) }
