package mapping

import (
	"bytes"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// Mapper maps the transactions of one database. Only one goroutine may use it at a time.
type Mapper struct {
	rules  *Rules
	tables []*boundTable
	byCDC  map[*cdc.Table]*boundTable
	eval   evaluator
	// followers lists, by the table index of the follower, the rules whose events unless_followed may cancel.
	followers [][]*rule
	// Buffers, reused from change to change.
	differs []bool
	matched []*rule
	body    []byte
	item    []byte
	maxBody int
}

// DefaultMaxBody is the size limit of an event's body, in bytes, unless SetMaxBody sets another.
const DefaultMaxBody = 16 << 20

// SetMaxBody limits the body of an event to a number of bytes. A few small rows can make a very large body, through their
// children and through parents that many of them share. An event whose body would be larger has none.
func (m *Mapper) SetMaxBody(bytes int) { m.maxBody = bytes }

// takeBody returns a body that was built in the mapper's buffer. It gives a large buffer away instead of keeping it.
func (m *Mapper) takeBody(body []byte) []byte {
	if len(body) <= maxKeptBuffer {
		m.body = body
		return bytes.Clone(body)
	}
	m.body = nil
	return body
}

// maxKeptBuffer is the size in bytes up to which a buffer is kept for reuse.
const maxKeptBuffer = 64 << 10

// boundTable is a table with the types that its columns have in the database.
type boundTable struct {
	table    *table
	relation *cdc.Relation // as last seen; nil for an optional table that the database does not have
	oids     []uint32      // 0 for a column that the database does not have
	formats  []format
	// broken is the reason why the relation cannot be mapped: its types changed so that a condition no longer type-checks.
	broken error
}

// setTypes sets the column types from OIDs, which may be nil.
func (b *boundTable) setTypes(oids []uint32) {
	clear(b.oids)
	copy(b.oids, oids)
	for i := range b.formats {
		b.formats[i] = format{columnType: typeOfOID[b.oids[i]], spec: b.table.formats[i]}
		if b.table.cdc.Columns[i].Hash {
			b.formats[i].columnType = columnType{kind: textKind}
		}
	}
}

// bound implements lookup.
func (m *Mapper) bound(t *table) *boundTable { return m.tables[t.index] }

// parentRow implements lookup for type checks, which need no rows.
func (m *Mapper) parentRow(*table, cdc.Key) cdc.Row { return nil }

// tableOf returns the mapped table of a relation, or nil if it is not mapped. If the column types have changed since the
// last call, it checks the rules again.
func (m *Mapper) tableOf(relation *cdc.Relation) (*boundTable, error) {
	b := m.byCDC[relation.Table]
	if b == nil {
		t := m.rules.byName[relation.Name]
		if t == nil || t.cdc.Schema != relation.Schema {
			return nil, nil //nolint:nilnil // a table that is not mapped is not an error
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
	b.checkSecrets(&p)
	for _, t := range m.rules.tables {
		if t == b.table || slices.ContainsFunc(t.parents, func(p parent) bool { return p.table == b.table }) {
			m.checkConditions(t, &p)
		}
	}
	b.broken = p.err()
	return b, b.broken
}
