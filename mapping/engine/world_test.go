package engine

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// world is a small database with a mapping. It uses the mapping in the same way as the relay.
type world struct {
	t          testing.TB
	options    language.Options
	schema     mappingtest.Schema
	rules      *rules.Set
	mapper     *Mapper
	rels       map[string]*cdc.Relation
	mirror     mappingtest.Mirror
	matches    []string
	commits    int
	reconciled bool // The changes come from a reconciliation.
}

// start loads and binds the mapping at its first call.
func (w *world) start() {
	if w.mapper != nil {
		return
	}
	if w.options.Preset == "" && w.options.File == "" {
		w.options.Preset = "ferriskey"
	}
	var err error
	if w.rules, err = language.Load(w.options); err != nil {
		w.t.Fatal(err)
	}
	w.rels, w.mirror = map[string]*cdc.Relation{}, mappingtest.Mirror{}
	relations := w.schema.Relations(w.rules)
	for _, r := range relations {
		w.rels[r.Name] = r
	}
	bound, err := w.rules.Bind(relations)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mapper = New(bound)
}

func (w *world) relation(table string) *cdc.Relation {
	w.start()
	r := w.rels[table]
	if r == nil {
		w.t.Fatalf("no mapped table %q", table)
	}
	return r
}

func (w *world) mirrorRow(line string) {
	table, rest, _ := strings.Cut(line, " ")
	r := w.relation(table)
	w.mirror.Put(r.Table, w.row(r, rest, nil))
}

// changes parses the lines of a transaction. Updates and deletes apply to the rows as the lines before them left them.
func (w *world) changes(lines []string) []cdc.Change {
	now := w.mirrorCopy()
	var out []cdc.Change
	for i, line := range lines {
		op, rest, _ := strings.Cut(line, " ")
		table, rest, _ := strings.Cut(rest, " ")
		r := w.relation(table)
		c := cdc.Change{Seq: i, Relation: r}
		given := w.row(r, rest, make(cdc.Row, len(r.Columns)))
		switch op {
		case "insert":
			c.Op, c.New = cdc.Insert, w.row(r, rest, nil)
			c.Key = now.Put(r.Table, c.New)
		case "update":
			key, err := r.KeyOf(given)
			if err != nil {
				w.t.Fatal(err)
			}
			c.Op, c.Key, c.New = cdc.Update, key, w.row(r, rest, now.Get(r.Table, key))
			now.Put(r.Table, slices.Clone(c.New))
		case "delete":
			key, err := r.KeyOf(given)
			if err != nil {
				w.t.Fatal(err)
			}
			c.Op, c.Key = cdc.Delete, key
			delete(now[r.Table], key)
		default:
			w.t.Fatalf("unknown operation %q", op)
		}
		out = append(out, c)
	}
	return out
}

func (w *world) mirrorCopy() mappingtest.Mirror {
	w.start()
	out := mappingtest.Mirror{}
	for table, rows := range w.mirror {
		out[table] = maps.Clone(rows)
	}
	return out
}

// transaction maps the lines as one commit, describes its events and updates the mirror.
func (w *world) transaction(lines []string, overlay bool) []string {
	w.t.Helper()
	changes := w.resolve(w.changes(lines))
	rows := &fetched{w: w, mirror: w.mirror, allowed: map[Ref]bool{}}
	w.fetch(rows, changes)
	w.commits++
	commit := Commit{LSN: cdc.LSN(w.commits), Time: time.Date(2026, 8, 20, 13, 54, w.commits, 123456000, time.UTC), Reconciled: w.reconciled}
	tx := w.mapper.Begin(commit, rows)
	if !overlay {
		rows.previous = w.mirrorCopy()
		// The order for a transaction that is too large for memory: write, map, then delete.
		for _, c := range changes {
			if c.Op != cdc.Delete {
				w.mirror.Put(c.Relation.Table, c.New)
			}
		}
		rows.anything = true
		tx = w.mapper.BeginLarge(commit, rows)
	}
	var events []Event
	emit := func(e Event) error {
		events = append(events, e)
		return nil
	}
	tx.Observe(changes)
	if tx.Grouping() {
		if err := tx.Group(changes); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := tx.Map(changes, emit); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(events, func(a, b Event) int { return a.Index - b.Index })
	var out []string
	for i, e := range events {
		if e.Index != i {
			w.t.Errorf("event %s has index %d, want %d", e.Name, e.Index, i)
		}
		out = append(out, w.describe(e))
	}
	for _, match := range tx.Cancellations() {
		out = append(out, "cancels match="+w.matchName(match)+"\n")
	}
	w.mirror.Apply(changes)
	return out
}

func (w *world) resolve(changes []cdc.Change) []cdc.Change {
	out := changes[:0]
	net, err := Fold(changes)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range net {
		if Resolve(&c, w.mirror.Get(c.Relation.Table, c.Key)) {
			out = append(out, c)
		}
	}
	return out
}

// fetch allows the rows that Refs and RefsOf report, until they report nothing new.
func (w *world) fetch(rows *fetched, changes []cdc.Change) {
	var queue []Ref
	need := func(r Ref) {
		if !rows.allowed[r] {
			rows.allowed[r] = true
			queue = append(queue, r)
		}
	}
	for i := range changes {
		w.mapper.Refs(&changes[i], need)
	}
	for len(queue) > 0 {
		ref := queue[0]
		queue = queue[1:]
		if ref.By == 0 {
			w.mapper.RefsOf(ref.Table, w.mirror.Get(ref.Table, ref.Key), need)
			continue
		}
		for _, row := range w.mirror.ChildrenOf(ref.Table, ref.By, ref.Key) {
			w.mapper.RefsOf(ref.Table, row, need)
		}
	}
}
