package engine

import (
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// Resolve completes a folded change. mirrored is the mirror's row of c.Key as it was before the transaction, or nil. Resolve
// sets Old, fills the Unchanged values of New, and corrects the operation: an insert of a row that the mirror has is an
// update. If the mirror does not have the row of an update or delete, Old holds the key and otherwise Absent values, unless
// the WAL contained the old row.
//
// Resolve returns false if nothing changed: PostgreSQL logs an UPDATE also if it writes equal values.
//
// A Moved change needs [ResolveFrom] first, because its Unchanged values are those of the row that moved and not of the row
// that had its new key before.
func Resolve(c *cdc.Change, mirrored cdc.Row) bool {
	switch c.Op {
	case cdc.Insert:
		if mirrored == nil {
			c.Old = nil
			return true
		}
		c.Op = cdc.Update
	case cdc.Update, cdc.Delete:
	default:
		return true
	}
	c.Old = oldRow(c, mirrored)
	if c.Op == cdc.Delete {
		return true
	}
	if !c.Moved {
		fillUnchanged(c.New, c.Old)
	}
	return !slices.Equal(c.Old, c.New)
}

// ResolveFrom fills the Unchanged values of a Moved row from the mirror's row of c.From, as it was before the transaction.
func ResolveFrom(c *cdc.Change, from cdc.Row) {
	fillUnchanged(c.New, from)
}

// oldRow prefers the mirror, and takes values that the mirror does not have, such as those of a newly mapped column, from
// the WAL.
func oldRow(c *cdc.Change, mirrored cdc.Row) cdc.Row {
	switch {
	case mirrored == nil && c.Old != nil:
		return c.Old
	case mirrored == nil:
		old := make(cdc.Row, len(c.Relation.Columns))
		for i, text := range keyTexts(c.Relation.Table, c.Key) {
			old[i] = cdc.TextValue(text)
		}
		return old
	case len(mirrored) == len(c.Relation.Columns) && !slices.ContainsFunc(mirrored, isAbsent):
		return mirrored
	}
	old := make(cdc.Row, len(c.Relation.Columns))
	copy(old, mirrored)
	for i := range old {
		if isAbsent(old[i]) && i < len(c.Old) {
			old[i] = c.Old[i]
		}
	}
	return old
}

func isAbsent(v cdc.Value) bool { return v.Kind == cdc.Absent }

// keyTexts splits a Key into the texts of the key columns.
func keyTexts(t *cdc.Table, key cdc.Key) []string {
	if t.KeyColumns == 1 {
		return []string{string(key)}
	}
	texts := strings.Split(string(key), "\x1f")
	for i := range texts {
		texts[i] = keyUnescaper.Replace(texts[i])
	}
	return texts[:min(len(texts), t.KeyColumns)]
}

var keyUnescaper = strings.NewReplacer(`\\`, `\`, `\s`, "\x1f")
