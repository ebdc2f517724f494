package engine

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
)

// statement executes an INSERT, UPDATE or DELETE. There are few ids, so that ids are used again.
func (m *modelWorld) statement() {
	t := m.t.run
	table := rapid.SampledFrom(modelTables).Draw(t, "table")
	id := m.drawID(table)
	old, exists := m.state[table][id]
	switch {
	case !exists:
		row := modelRow{}
		for _, column := range slices.Sorted(maps.Keys(modelParents[table])) {
			parents := slices.Sorted(maps.Keys(m.state[modelParents[table][column]]))
			if optionalParents[table] == column {
				parents = append([]string{""}, parents...)
			}
			if len(parents) == 0 {
				return
			}
			if parent := rapid.SampledFrom(parents).Draw(t, column); parent != "" {
				row[column] = parent
			}
		}
		m.change(table, row)
		m.put(table, id, row)
		m.origins.put(table, id, "")
		m.record(cdc.Change{Op: cdc.Insert, Key: cdc.Key(id), New: m.asRow(table, id, row)}, table)
	case rapid.IntRange(0, 3).Draw(t, "what") == 0:
		m.remove(table, id)
	default:
		m.update(table, id, old)
	}
}

func (m *modelWorld) drawID(table string) string {
	n := rapid.IntRange(0, 5).Draw(m.t.run, "id")
	if table == "user_role" {
		return fmt.Sprint(n) // a sequence number
	}
	return long(fmt.Sprintf("@%c%d", "abcdefg"[slices.Index(modelTables, table)], n))
}

// change sets some columns, perhaps to the values that they have.
func (m *modelWorld) change(table string, row modelRow) (changed []string) {
	for _, column := range slices.Sorted(maps.Keys(modelColumns[table])) {
		if _, given := row[column]; given && rapid.Bool().Draw(m.t.run, "keep "+column) {
			continue
		}
		changed = append(changed, column)
		if text := rapid.SampledFrom(modelColumns[table][column]).Draw(m.t.run, column); text != "" {
			row[column] = text
		} else {
			delete(row, column)
		}
	}
	return changed
}

func (m *modelWorld) put(table, id string, row modelRow) {
	if m.state[table] == nil {
		m.state[table] = map[string]modelRow{}
	}
	m.state[table][id] = row
}

// remove deletes the row and then the rows that refer to it, in the order of the WAL.
func (m *modelWorld) remove(table, id string) {
	delete(m.state[table], id)
	m.record(cdc.Change{Op: cdc.Delete, Key: cdc.Key(id)}, table)
	for _, child := range modelTables {
		for _, childID := range slices.Sorted(maps.Keys(m.state[child])) {
			for column, parent := range modelParents[child] {
				if row, ok := m.state[child][childID]; ok && parent == table && row[column] == id {
					m.remove(child, childID)
				}
			}
		}
	}
}

// update changes a row, and perhaps its key if no row refers to it. The WAL does not contain large values that are not changed.
func (m *modelWorld) update(table, id string, old modelRow) {
	row := maps.Clone(old)
	changed := m.change(table, row)
	sent := m.asRow(table, id, row)
	for column := range modelColumns[table] {
		// Null is never stored out of line.
		if i := m.rels[table].Index(column); !slices.Contains(changed, column) && sent[i].Kind == cdc.Text && rapid.Bool().Draw(m.t.run, "large") {
			sent[i] = cdc.Value{Kind: cdc.Unchanged}
		}
	}
	to := id
	if !m.hasChildren(table, id) && rapid.IntRange(0, 3).Draw(m.t.run, "new key") == 0 {
		to = m.drawID(table)
	}
	if _, taken := m.state[table][to]; taken {
		m.put(table, id, row)
		m.record(cdc.Change{Op: cdc.Update, Key: cdc.Key(id), New: sent}, table)
		return
	}
	delete(m.state[table], id)
	m.put(table, to, row)
	m.origins.put(table, to, m.origins.of(table, id))
	sent[0] = cdc.TextValue(to)
	m.record(cdc.Change{Op: cdc.Delete, Key: cdc.Key(id)}, table)
	m.record(cdc.Change{Op: cdc.Insert, Key: cdc.Key(to), New: sent, Moved: true, OldKey: cdc.Key(id)}, table)
}

func (m *modelWorld) hasChildren(table, id string) bool {
	for child, parents := range modelParents {
		for column, parent := range parents {
			for _, row := range m.state[child] {
				if parent == table && row[column] == id {
					return true
				}
			}
		}
	}
	return false
}
