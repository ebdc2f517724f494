package mappingcase

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// mirror is the copy of the mapped rows, in memory.
type mirror map[*cdc.Table]map[cdc.Key]cdc.Row

// Row implements mapping.Rows.
func (m mirror) Row(table *cdc.Table, key cdc.Key) cdc.Row { return m[table][key] }

// Children implements mapping.Rows.
func (m mirror) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	var children []cdc.Row
	for _, key := range slices.Sorted(maps.Keys(m[table])) {
		if row := m[table][key]; by < len(row) && row[by].Kind == cdc.Text && row[by].Text == string(parent) {
			children = append(children, row)
		}
	}
	return children
}

// ChildrenBefore implements mapping.Rows. The mirror changes only after a transaction was mapped.
func (m mirror) ChildrenBefore(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	return m.Children(table, by, parent)
}

func (m mirror) put(table *cdc.Table, row cdc.Row) error {
	key, err := table.KeyOf(row)
	if err != nil {
		return err
	}
	if m[table] == nil {
		m[table] = map[cdc.Key]cdc.Row{}
	}
	m[table][key] = row
	return nil
}

func (m mirror) apply(changes []cdc.Change) error {
	for i := range changes {
		c := &changes[i]
		if c.Op == cdc.Delete {
			delete(m[c.Relation.Table], c.Key)
		} else if err := m.put(c.Relation.Table, c.New); err != nil {
			return err
		}
	}
	return nil
}

// netChanges reduces the changes of a transaction to one resolved change per row.
func (m mirror) netChanges(tx *cdc.Transaction) ([]cdc.Change, error) {
	var changes []cdc.Change
	for c, err := range tx.All() {
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
		if c.Op != cdc.Truncate {
			continue
		}
		for sub, key := range slices.Sorted(maps.Keys(m[c.Relation.Table])) {
			changes = append(changes, cdc.Change{Seq: c.Seq, Sub: sub + 1, Op: cdc.Delete, Relation: c.Relation, Key: key})
		}
	}
	net, err := mapping.Fold(changes)
	if err != nil {
		return nil, err
	}
	kept := net[:0]
	for i := range net {
		c := net[i]
		if c.Moved {
			mapping.ResolveFrom(&c, m.Row(c.Relation.Table, c.OldKey))
		}
		if mapping.Resolve(&c, m.Row(c.Relation.Table, c.Key)) {
			kept = append(kept, c)
		}
	}
	return kept, nil
}
