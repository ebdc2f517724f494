package mappingcase

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// Explanation says what a transaction made, and why.
type Explanation struct {
	Title string    `json:"title,omitempty"` // of the case's transaction
	LSN   string    `json:"lsn"`
	Time  time.Time `json:"time"`
	// Changes is the number of row changes in mapped tables, Rows what is left of them: one net change per row that really changed.
	Changes int              `json:"changes"`
	Rows    []RowExplanation `json:"rows"`
	tenants bool
	Events  []string `json:"events"` // as in a case
}

// RowExplanation says what the rules of its table made of a changed row.
type RowExplanation struct {
	Table   string            `json:"table"`
	Op      string            `json:"op"`
	Key     string            `json:"key"`               // the SHA-256 if the key is a secret
	Changed []string          `json:"changed,omitempty"` // columns, of an update
	Rules   []RuleExplanation `json:"rules"`
}

// RuleExplanation says why a rule made an event of a row, or made none.
type RuleExplanation struct {
	Event   string `json:"event"`
	At      string `json:"at"` // file and line
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
}

func (r *run) explanationOf(tx *cdc.Transaction, changes []cdc.Change) Explanation {
	e := Explanation{tenants: r.rules.Tenant != nil, LSN: tx.Commit.String(), Time: tx.Time, Changes: tx.Len(), Rows: []RowExplanation{}}
	for i := range changes {
		c := &changes[i]
		row := RowExplanation{Table: c.Relation.Schema + "." + c.Relation.Name, Op: c.Op.String(), Key: string(c.Key), Rules: []RuleExplanation{}}
		if c.Op == cdc.Update {
			for j, column := range c.Relation.Columns {
				if rules.ValueAt(c.Old, j) != rules.ValueAt(c.New, j) {
					row.Changed = append(row.Changed, column.Name)
				}
			}
		}
		e.Rows = append(e.Rows, row)
	}
	return e
}

// add notes a decision about the row that it is about. A row whose children changed gets a separate entry.
func (e *Explanation) add(d mapping.Decision) {
	table := d.Rule.Table
	name := table.CDC.Schema + "." + table.CDC.Name
	key, err := table.CDC.KeyOf(d.Row)
	if err != nil { // a mapped row always has its key
		return
	}
	at := slices.IndexFunc(e.Rows, func(r RowExplanation) bool { return r.Table == name && r.Key == string(key) })
	if at < 0 {
		at = len(e.Rows)
		e.Rows = append(e.Rows, RowExplanation{Table: name, Op: d.Op.String() + " of its children", Key: string(key)})
	}
	e.Rows[at].Rules = append(e.Rows[at].Rules, RuleExplanation{
		Event: d.Rule.Event.Name, At: d.Rule.At.String(), Outcome: string(d.Outcome), Detail: e.detail(d),
	})
}

func (e *Explanation) detail(d mapping.Decision) string {
	switch {
	case d.Parent != nil:
		return "by the " + d.Op.String() + " in " + d.Parent.CDC.Schema + "." + d.Parent.Name()
	case d.Outcome == "condition false":
		return conditionDetail(d)
	case (d.Outcome == "fired" || d.Outcome == "delayed") && d.Tenant == "" && e.tenants:
		return "without a tenant, so it is never delivered"
	}
	return ""
}

// conditionDetail lists the values that a condition reads, except secrets and hashed ones.
func conditionDetail(d mapping.Decision) string {
	var parts []string
	for _, c := range []*rules.Condition{d.Rule.Becomes, d.Rule.When} {
		if c == nil {
			continue
		}
		parts = append(parts, c.Source)
		for _, i := range c.Columns {
			column := d.Rule.Table.CDC.Columns[i]
			after, before := shown(column, d.Row, i), shown(column, d.Old, i)
			if d.Op == cdc.Update && before != after {
				parts = append(parts, fmt.Sprintf("%s: %s → %s", column.Name, before, after))
			} else {
				parts = append(parts, column.Name+": "+after)
			}
		}
	}
	return strings.Join(parts, "; ")
}

func shown(column cdc.Column, row cdc.Row, i int) string {
	v := rules.ValueAt(row, i)
	switch {
	case column.Secret || column.Hash:
		return "(not shown)"
	case v.Kind == cdc.Null:
		return "null"
	case v.Kind != cdc.Text:
		return "unknown"
	}
	const longest = 60
	if len(v.Text) > longest {
		return fmt.Sprintf("%.*q…", longest, v.Text)
	}
	return fmt.Sprintf("%q", v.Text)
}
