package mapping

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// Bind checks the rules against the tables of a database: that the columns exist (optional ones may be missing), that
// conditions compare values of the same type, that formats fit the column types, and that no secret is read into a payload
// or used as a resource_id. The error is an *[Error] with all problems.
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
				p.add(t.at, "the database has no table %s.%s; if some versions of the IAM lack it, set optional = true", t.cdc.Schema, t.name())
			}
			b.setTypes(nil)
			b.checkSecrets(&p) // The table may be created later.
			continue
		}
		b.relation = relations[i]
		b.setTypes(relations[i].Types)
		b.checkColumns(&p)
		b.checkSecrets(&p)
	}
	for _, t := range r.tables {
		m.checkConditions(t, &p)
	}
	m.checkResources(&p)
	m.followers = make([][]*rule, len(r.tables))
	for _, e := range r.events {
		for _, rule := range e.rules {
			if rule.unlessFollowed != nil {
				follower := rule.unlessFollowed.follower.index
				m.followers[follower] = append(m.followers[follower], rule)
			}
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return m, nil
}

// checkColumns reports columns that the database does not have, and formats that do not fit a column's type.
func (b *boundTable) checkColumns(p *problems) {
	for i, oid := range b.oids {
		if oid == 0 && !b.table.optional[i] {
			p.add(b.table.at, "table %s.%s has no column %q; if some versions of the IAM lack it, list it under optional_columns",
				b.table.cdc.Schema, b.table.name(), b.table.cdc.Columns[i].Name)
		}
		if spec := b.table.formats[i]; spec != nil && oid != 0 {
			if mismatch := spec.mismatch(b.formats[i].columnType); mismatch != "" {
				p.add(b.table.at, "format.%s of %s %s", b.table.cdc.Columns[i].Name, b.table.name(), mismatch)
			}
		}
	}
}

// mismatch reports why no value of the column's type could satisfy the format, or "".
func (s *formatSpec) mismatch(column columnType) string {
	integer := columnType{kind: intKind}
	switch {
	case s.bits != nil && column != integer:
		return "has bits, but the column is not an integer"
	case s.min != nil && column != integer:
		return "has min, but the column is not an integer"
	case len(s.oneOf) > 0 && column.kind != textKind && column.kind != intKind:
		return "has one_of, but the column is neither text nor integer"
	}
	return ""
}

// checkConditions type-checks every condition on a table.
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
	checked := map[*rule]bool{}
	for _, rules := range t.rules {
		for _, r := range rules {
			if !checked[r] {
				checked[r] = true
				check(r.when)
				check(r.delayCondition())
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
				p.add(e.at, "event %s: resource_id would be %s.%s, which is neither a uuid nor text; set resource_id to the column that identifies the resource",
					e.name, r.table.name(), r.table.cdc.Columns[r.resource].Name)
			}
		}
	}
}
