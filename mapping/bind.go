package mapping

import (
	"bytes"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// Mapper maps the transactions of one database. It is for one goroutine at a time.
type Mapper struct {
	rules  *Rules
	tables []*boundTable
	byCDC  map[*cdc.Table]*boundTable
	eval   evaluator
	// followers are, by table, the rules with unless_followed whose cancelling change is of that table.
	followers [][]*rule
	// Reused from change to change:
	differs []bool
	matched []*rule
	body    []byte
	item    []byte
	maxBody int
}

// DefaultMaxBody is how many bytes the body of an event may have unless MaxBody says otherwise.
const DefaultMaxBody = 16 << 20

// MaxBody sets how many bytes the body of an event may have. A few small rows can make a very large body, by their children and
// by the parents that many of them share. An event whose body would be larger has none.
func (m *Mapper) MaxBody(bytes int) { m.maxBody = bytes }

// finished ends a body in the mapper's buffer. The buffer of a large one is given away rather than kept.
func (m *Mapper) finished(body []byte) []byte {
	if len(body) <= keptBuffer {
		m.body = body
		return bytes.Clone(body)
	}
	m.body = nil
	return body
}

const keptBuffer = 64 << 10

// boundTable is a table with the types that the database gives its columns.
type boundTable struct {
	table    *table
	relation *cdc.Relation // as last seen; nil for an optional table that the database lacks
	oids     []uint32
	formats  []format
	// broken is why the relation cannot be mapped: its types changed so that a condition makes no sense any more.
	broken error
}

// Bind checks the rules against the tables that the database really has: that columns exist (optional ones may be missing),
// that conditions compare like with like, and that a resource_id is an identifier. The error is an *[Error] with everything
// that does not fit.
func (r *Rules) Bind(relations []*cdc.Relation) (*Mapper, error) {
	m := &Mapper{rules: r, maxBody: DefaultMaxBody, byCDC: make(map[*cdc.Table]*boundTable, len(r.tables))}
	var p problems
	for _, t := range r.tables {
		b := &boundTable{table: t, oids: make([]uint32, len(t.cdc.Columns)), formats: make([]format, len(t.cdc.Columns))}
		m.tables = append(m.tables, b)
		m.byCDC[t.cdc] = b
		i := slices.IndexFunc(relations, func(rel *cdc.Relation) bool {
			return rel.Table == t.cdc || (rel.Schema == t.cdc.Schema && rel.Name == t.cdc.Name)
		})
		if i < 0 {
			if !t.cdc.Optional {
				p.add(t.at, "the database has no table %s.%s", t.cdc.Schema, t.name())
			}
			b.setTypes(nil)
			b.guardSecrets(&p) // it may come later
			continue
		}
		b.relation = relations[i]
		b.setTypes(relations[i].Types)
		b.checkColumns(&p)
		b.guardSecrets(&p)
	}
	for _, t := range r.tables {
		m.checkConditions(t, &p)
	}
	m.checkResources(&p)
	m.followers = make([][]*rule, len(r.tables))
	for _, e := range r.events {
		for _, rule := range e.rules {
			if rule.hold != nil {
				m.followers[rule.hold.follower.index] = append(m.followers[rule.hold.follower.index], rule)
			}
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return m, nil
}

// setTypes takes the OIDs of the table's columns; those that are missing are 0.
func (b *boundTable) setTypes(oids []uint32) {
	clear(b.oids)
	copy(b.oids, oids)
	for i := range b.formats {
		b.formats[i] = format{columnType: kindOfOID[b.oids[i]], spec: b.table.formats[i]}
		if b.table.cdc.Columns[i].Hash {
			b.formats[i].columnType = columnType{kind: textKind}
		}
	}
}

func (b *boundTable) checkColumns(p *problems) {
	for i, oid := range b.oids {
		if oid == 0 && !b.table.optional[i] {
			p.add(b.table.at, "the table %s.%s has no column %q: if this version of the IAM has none, name it under optional_columns",
				b.table.cdc.Schema, b.table.name(), b.table.cdc.Columns[i].Name)
		}
		if spec := b.table.formats[i]; spec != nil && oid != 0 {
			if mismatch := spec.mismatch(b.formats[i].columnType); mismatch != "" {
				p.add(b.table.at, "format.%s of %s %s", b.table.cdc.Columns[i].Name, b.table.name(), mismatch)
			}
		}
	}
}

// mismatch says what a format asks for that no value of the column's type could ever be, or nothing.
func (s *formatSpec) mismatch(column columnType) string {
	integer := columnType{kind: intKind}
	switch {
	case s.bits != nil && column != integer:
		return "names bits, but the column is no integer"
	case s.min != nil && column != integer:
		return "has a min, but the column is no integer"
	case len(s.oneOf) > 0 && column.kind != textKind && column.kind != intKind:
		return "has one_of, but the column is neither text nor integer"
	}
	return ""
}

// checkConditions type-checks every condition on the table.
func (m *Mapper) checkConditions(t *table, p *problems) {
	check := func(c *condition) {
		if c == nil || m.tables[c.table.index].relation == nil {
			return
		}
		if err := c.typeCheck(m); err != nil {
			p.add(c.at, "condition %q on table %s: %s", c.source, t.name(), firstLine(err))
		}
	}
	check(t.deleted)
	if t == m.rules.tenant {
		check(m.rules.rootTenant)
	}
	seen := map[*rule]bool{}
	for _, rules := range t.rules {
		for _, r := range rules {
			if !seen[r] {
				seen[r] = true
				check(r.when)
				check(r.holdCondition())
			}
		}
	}
}

// checkResources refuses a resource_id that identifies nothing outside the database, such as a sequence number.
func (m *Mapper) checkResources(p *problems) {
	for _, e := range m.rules.events {
		for _, r := range e.rules {
			b := m.tables[r.table.index]
			if r.resource < 0 || b.relation == nil || b.oids[r.resource] == 0 || r.table.cdc.Columns[r.resource].Hash {
				continue
			}
			if !identifierOIDs[b.oids[r.resource]] {
				p.add(e.at, "event %s: resource_id would be %s.%s, which is no uuid: name the column that identifies the resource",
					e.name, r.table.name(), r.table.cdc.Columns[r.resource].Name)
			}
		}
	}
}

// bound implements lookup.
func (m *Mapper) bound(t *table) *boundTable { return m.tables[t.index] }

// parentRow implements lookup for checks, which look at types only.
func (m *Mapper) parentRow(*table, cdc.Key) cdc.Row { return nil }

// tableOf finds the table of a change, nil if it is not mapped, and follows a change of its column types in the middle of the
// stream.
func (m *Mapper) tableOf(relation *cdc.Relation) (*boundTable, error) {
	b := m.byCDC[relation.Table]
	if b == nil {
		t := m.rules.byName[relation.Name]
		if t == nil || t.cdc.Schema != relation.Schema {
			return nil, nil //nolint:nilnil // no table is no error
		}
		b = m.tables[t.index]
		m.byCDC[relation.Table] = b
	}
	if b.relation == relation {
		return b, b.broken
	}
	same := b.relation != nil && slices.Equal(relation.Types, b.oids)
	b.relation = relation
	if same {
		return b, b.broken
	}
	b.setTypes(relation.Types)
	var p problems
	b.guardSecrets(&p)
	for _, t := range m.rules.tables {
		if t == b.table || slices.ContainsFunc(t.parents, func(p parent) bool { return p.table == b.table }) {
			m.checkConditions(t, &p)
		}
	}
	b.broken = p.err()
	return b, b.broken
}
