package mapping

import (
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// Transaction maps the changes of one commit. Changes are resolved, folded and in the order of their Seq. All of them pass
// through Observe first, then, if Grouping says so, through Group, and then all of them through Map, in the same chunks.
type Transaction struct {
	m      *Mapper
	commit Commit
	time   string
	rows   Rows
	index  int
	// overlay keeps the rows that the transaction wrote, so that lookups see them.
	overlay bool

	deleted  keySet
	inserted keySet
	// moved are keys whose rows are still there, under other keys.
	moved keySet
	// looksBack: children may be wanted as they were before.
	looksBack bool
	// removed are deleted rows that others collect, which rows still has; only without overlay.
	removed keySet
	written []written // by table index; nil without overlay
	// candidates are, by event index, the rows that may belong to a grouped event.
	candidates map[int]int
	groups     map[groupKey]*groupedRows
	inGroups   int // bytes of the grouped events in the making
	follows    map[matchKey]struct{}
	news       []matchKey // of follows, since Follows was called
}

// Begin starts a transaction. rows gives the mirror as of just before it, with at least what Refs and RefsOf named.
func (m *Mapper) Begin(commit Commit, rows Rows) *Transaction {
	t := m.BeginLarge(commit, rows)
	t.overlay = true
	return t
}

// BeginLarge starts a transaction that is too large to keep in memory. rows must answer as of after it, and still have the
// rows that it deleted.
func (m *Mapper) BeginLarge(commit Commit, rows Rows) *Transaction {
	return &Transaction{m: m, commit: commit, time: string(appendTime(nil, commit.Time)), rows: rows}
}

// Observe looks at the changes without making events: what is deleted, written, grouped and followed.
// An error that a change causes is returned by Map.
func (t *Transaction) Observe(changes []cdc.Change) {
	for i := range changes {
		c := &changes[i]
		seen, ok, err := t.m.see(c)
		if err != nil || seen.bound == nil {
			continue
		}
		table := seen.bound.table
		if t.overlay && (table.isParent || table.collected) {
			t.keep(table, c)
		}
		if !t.overlay && table.collected && c.Op == cdc.Delete {
			t.removed.add(table, c.Key)
		}
		if !ok {
			continue
		}
		t.observeParent(c, seen)
		for _, r := range table.rules[seen.op] {
			if t.groupsBy(r) {
				if t.candidates == nil {
					t.candidates = map[int]int{}
				}
				t.candidates[r.event.index]++
			}
		}
		for _, r := range t.m.followers[table.index] {
			if r.hold.on[seen.op] {
				if t.follows == nil {
					t.follows = map[matchKey]struct{}{}
				}
				match := r.match(seen.row, r.hold.followerSame)
				if _, known := t.follows[match]; !known {
					t.follows[match] = struct{}{}
					t.news = append(t.news, match)
				}
			}
		}
	}
}

// observeParent notes what became of a row that others refer to. A row whose key changed neither goes nor comes.
func (t *Transaction) observeParent(c *cdc.Change, seen rowChange) {
	table := seen.bound.table
	t.looksBack = t.looksBack || seen.op == cdc.Delete && table.collects
	if !table.isParent {
		return
	}
	if c.Moved && seen.op != cdc.Delete {
		t.moved.add(table, c.From)
	}
	switch {
	case seen.op == cdc.Delete:
		t.deleted.add(table, c.Key)
	case seen.op == cdc.Insert && table.insertion && !c.Moved:
		t.inserted.add(table, c.Key)
	}
}

// LooksBack reports whether Map may ask for children as they were before the transaction.
func (t *Transaction) LooksBack() bool { return t.looksBack }

// gone reports whether the transaction deleted a row that others refer to.
func (t *Transaction) gone(table *table, key cdc.Key) bool {
	return t.deleted.has(table, key) && !t.moved.has(table, key)
}

// groupsBy reports whether rows may become one event of the rule. Differences found later are not known to have been made
// together, so they do not stand for single events.
func (t *Transaction) groupsBy(r *rule) bool {
	return r.event.group > 0 && !(t.commit.Reconciled && len(r.event.insteadOf) > 0)
}

func (t *Transaction) keep(table *table, c *cdc.Change) {
	if c.Op == cdc.Truncate {
		return
	}
	if t.written == nil {
		t.written = make([]written, len(t.m.tables))
	}
	t.written[table.index].add(c.Key, c.New)
}

// Map emits the events of the changes. A grouped event is emitted with its last row, under the index that was reserved at its
// first. It stops at the first error, emit's included.
func (t *Transaction) Map(changes []cdc.Change, emit func(Event) error) error {
	for i := range changes {
		c := &changes[i]
		if err := t.mapChange(c, emit); err != nil {
			return fmt.Errorf("map %s of %s.%s at %s: %w", c.Op, c.Relation.Schema, c.Relation.Name, t.commit.LSN, err)
		}
	}
	return nil
}

func (t *Transaction) mapChange(c *cdc.Change, emit func(Event) error) error {
	seen, ok, err := t.m.see(c)
	if err != nil || !ok {
		return err
	}
	if len(seen.bound.table.rules[seen.op]) == 0 {
		return nil
	}
	matched := t.match(seen)
	if len(matched) == 0 {
		return nil
	}
	tenant := t.m.tenantOf(t, seen.bound.table, seen.row)
	var instead []*rule // of grouped events that stand for single ones
	for _, r := range matched {
		if r.event.group == 0 {
			continue
		}
		if g := t.grouped(r, tenant); g != nil {
			instead = append(instead, r)
			if err := t.addToGroup(g, r, tenant, seen, emit); err != nil {
				return err
			}
		}
	}
	for _, r := range matched {
		if r.event.group > 0 || slices.ContainsFunc(instead, func(g *rule) bool { return slices.Contains(g.event.insteadOf, r.event.name) }) {
			continue
		}
		e, followed, err := t.single(r, seen, tenant)
		if err != nil {
			return err
		}
		if followed {
			continue
		}
		e.Index = t.reserve()
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

// match gives the rules that the change fires.
func (t *Transaction) match(seen rowChange) []*rule {
	m := t.m
	if seen.op == cdc.Update {
		m.compare(seen)
		if t.setNull(seen, m.differs) {
			return nil
		}
	}
	absorbed := t.absorbed(seen)
	m.matched = m.matched[:0]
	m.eval.scope = t.scope(seen)
	for _, r := range seen.bound.table.rules[seen.op] {
		switch {
		case seen.op == cdc.Update && !r.touches(m.differs),
			absorbed && r.absorb[seen.op],
			r.event.group > t.candidates[r.event.index]:
			continue
		}
		if m.eval.holds(r.when) {
			m.matched = append(m.matched, r)
		}
	}
	return m.matched
}

// scope is what conditions see of the change; for an update, after compare.
func (t *Transaction) scope(seen rowChange) scope {
	s := scope{bound: seen.bound, look: t, row: seen.row, old: seen.old}
	if seen.op == cdc.Update {
		s.differs = t.m.differs
	}
	return s
}

// absorbed reports whether the row went, or came, together with a parent.
func (t *Transaction) absorbed(seen rowChange) bool {
	with := t.gone
	if seen.op == cdc.Insert {
		with = t.inserted.has
	}
	if seen.op == cdc.Update || len(t.deleted)+len(t.inserted) == 0 {
		return false
	}
	return slices.ContainsFunc(seen.bound.table.parents, func(p parent) bool {
		v := at(seen.row, p.column)
		return v.Kind == cdc.Text && with(p.table, cdc.Key(v.Text))
	})
}

// setNull reports whether all that an update did was to lose parents that the transaction deleted: ON DELETE SET NULL.
func (t *Transaction) setNull(seen rowChange, differs []bool) bool {
	if len(t.deleted) == 0 {
		return false
	}
	lost := false
	for i, d := range differs {
		if !d {
			continue
		}
		parent, ok := seen.bound.table.parentOf(i)
		if !ok || at(seen.row, i).Kind != cdc.Null {
			return false
		}
		before := at(seen.old, i)
		if before.Kind != cdc.Text || !t.gone(seen.bound.table.parents[parent].table, cdc.Key(before.Text)) {
			return false
		}
		lost = true
	}
	return lost
}

// reserve returns the next index.
func (t *Transaction) reserve() int {
	t.index++
	return t.index - 1
}

// Follows are the match keys, sorted, of the changes observed since it was called before: they cancel held events of earlier
// transactions.
func (t *Transaction) Follows() []string {
	out := make([]string, len(t.news))
	for i, match := range t.news {
		out[i] = match.String()
	}
	t.news = nil
	slices.Sort(out)
	return out
}
