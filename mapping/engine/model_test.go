package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

// trial directs failures of test helpers to one run of the model.
type trial struct {
	testing.TB
	run *rapid.T
}

func (t trial) Errorf(format string, a ...any) { t.run.Errorf(format, a...) }

func (t trial) Fatalf(format string, a ...any) { t.run.Fatalf(format, a...) }

func (t trial) Fatal(a ...any) { t.run.Fatal(a...) }

// modelColumns holds the columns that change, with their possible values; "" is null.
var modelColumns = map[string]map[string][]string{
	"realms":        {"name": {"a", "b"}, "display_name": {"", "a"}},
	"clients":       {"name": {"a", "b"}, "enabled": {"t", "f"}, "maintenance_enabled": {"t", "f"}},
	"users":         {"username": {"a", "b"}, "firstname": {"", "a"}, "email": {"", "a"}, "email_verified": {"t", "f"}, "enabled": {"t", "f"}, "failed_login_attempts": {"0", "1"}},
	"roles":         {"name": {"a", "b"}, "description": {"", "a"}, "permissions": {"0", "1"}},
	"redirect_uris": {"value": {"a", "b"}, "enabled": {"t", "f"}},
	"credentials":   {"credential_type": {"password", "otp", "recovery-code", "webauthn"}},
	"user_role":     {},
}

// optionalParents may be null.
var optionalParents = map[string]string{"users": "client_id", "roles": "client_id"}

var modelTables = slices.Sorted(maps.Keys(modelParents))

// modelWorld executes statements on the model and records what the WAL would contain.
type modelWorld struct {
	*world
	t     trial
	state modelState
	wal   []cdc.Change
	// origins of the rows since the beginning of the transaction.
	origins modelOrigins
	plain   map[string]cdc.Row // by table: the default values of a row
}

func (m *modelWorld) record(c cdc.Change, table string) {
	c.Seq, c.Relation = len(m.wal), m.rels[table]
	m.wal = append(m.wal, c)
}

// asRow returns the row as PostgreSQL would send it.
func (m *modelWorld) asRow(table, id string, row modelRow) cdc.Row {
	r := m.rels[table]
	if m.plain[table] == nil {
		m.plain[table] = m.row(r, "", nil)
		for column := range modelColumns[table] {
			m.plain[table][r.Index(column)] = cdc.NullValue
		}
	}
	out := slices.Clone(m.plain[table])
	out[0] = cdc.TextValue(id)
	for column, text := range row {
		out[r.Index(column)] = cdc.TextValue(text)
	}
	return out
}

// net folds and resolves the recorded changes.
func (m *modelWorld) net() []cdc.Change {
	var out []cdc.Change
	net, err := Fold(m.wal)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, c := range net {
		if c.Moved {
			ResolveFrom(&c, m.mirror.Get(c.Relation.Table, c.OldKey))
		}
		if Resolve(&c, m.mirror.Get(c.Relation.Table, c.Key)) {
			out = append(out, c)
		}
	}
	m.wal = nil
	return out
}

// mapped maps the changes, in chunks of random sizes if chunked.
func (m *modelWorld) mapped(tx *Transaction, changes []cdc.Change, chunked bool) []Event {
	var events []Event
	emit := func(e Event) error { events = append(events, e); return nil }
	chunks := [][]cdc.Change{changes}
	for chunked && len(chunks[len(chunks)-1]) > 0 {
		last := chunks[len(chunks)-1]
		n := rapid.IntRange(1, len(last)).Draw(m.t.run, "chunk")
		chunks = append(chunks[:len(chunks)-1], last[:n], last[n:])
	}
	for _, chunk := range chunks {
		tx.Observe(chunk)
	}
	for _, chunk := range chunks {
		if err := tx.Group(chunk); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, chunk := range chunks {
		if err := tx.Map(chunk, emit); err != nil {
			m.t.Fatal(err)
		}
	}
	slices.SortFunc(events, func(a, b Event) int { return a.Index - b.Index })
	return events
}

func (m *modelWorld) modelled(e Event) modelled {
	var body struct{ Data json.RawMessage }
	if err := json.Unmarshal(e.Body, &body); err != nil {
		m.t.Fatalf("%s: %v", e.Body, err)
	}
	var row struct{ Username, Name, Value string }
	if strings.HasPrefix(string(body.Data), "{") {
		if err := json.Unmarshal(body.Data, &row); err != nil {
			m.t.Fatalf("%s: %v", e.Body, err)
		}
	}
	return modelled{Name: e.Name, Tenant: e.Tenant, Resource: e.Resource, Detail: row.Username + row.Name + row.Value, Delayed: e.Delay != nil}
}

// commit maps the recorded changes and compares the events with the model.
func (m *modelWorld) commit(before modelState) {
	changes := m.net()
	rows := &fetched{w: m.world, mirror: m.mirror, allowed: map[Ref]bool{}}
	for i := range changes { // Resolve has fetched the changed rows.
		rows.allowed[Ref{Table: changes[i].Relation.Table, Key: changes[i].Key}] = true
	}
	m.fetch(rows, changes)
	m.commits++
	at := Commit{LSN: cdc.LSN(m.commits), Time: time.Unix(int64(m.commits), 0)}
	events := m.mapped(m.mapper.Begin(at, rows), changes, false)

	var got []modelled
	for _, e := range events {
		got = append(got, m.modelled(e))
	}
	if diff := cmp.Diff(expected(before, m.state, m.origins), got, cmpopts.SortSlices(func(a, b modelled) bool { return fmt.Sprint(a) < fmt.Sprint(b) }), cmpopts.EquateEmpty()); diff != "" {
		m.t.Fatalf("events (-want +got):\n%s", diff)
	}

	previous := m.mirrorCopy()
	// The order for a transaction that is too large for memory: write, map in chunks, then delete.
	for _, c := range changes {
		if c.Op != cdc.Delete {
			m.mirror.Put(c.Relation.Table, c.New)
		}
	}
	large := m.mapped(m.mapper.BeginLarge(at, &fetched{w: m.world, mirror: m.mirror, previous: previous, anything: true}), changes, true)
	if !reflect.DeepEqual(events, large) {
		m.t.Fatalf("events (-small +large):\n%s", cmp.Diff(events, large))
	}
	m.mirror.Apply(changes)
	m.checkMirror()
}

// checkMirror compares the mirror with the model.
func (m *modelWorld) checkMirror() {
	for _, table := range modelTables {
		want := map[cdc.Key]cdc.Row{}
		for id, row := range m.state[table] {
			want[cdc.Key(id)] = m.asRow(table, id, row)
		}
		if got := m.mirror[m.rels[table].Table]; !maps.EqualFunc(want, got, slices.Equal) {
			m.t.Fatalf("mirror of %s (-want +got):\n%s", table, cmp.Diff(want, got))
		}
	}
}

// For random transactions, mapping makes the events that the model expects from the states before and after. It uses only rows
// that Refs reported, and makes the same events for transactions that are too large for memory.
func TestModel_EventsOfRandomTransactions(t *testing.T) {
	t.Parallel()
	bound := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	bound.start()
	steps, plain := 0, map[string]cdc.Row{}
	rapid.Check(t, func(rt *rapid.T) {
		w := *bound
		m := &modelWorld{world: &w, t: trial{t, rt}, state: modelState{}, plain: plain}
		w.t, w.mirror = m.t, mappingtest.Mirror{}
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			before := m.state.clone()
			m.origins = modelOrigins{}
			for range rapid.IntRange(1, 25).Draw(rt, "statements") {
				m.statement()
				steps++
			}
			m.commit(before)
		}
	})
	t.Logf("%d statements", steps)
}
