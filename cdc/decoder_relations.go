package cdc

import "github.com/jackc/pglogrepl"

// describe takes the description of a relation, which replaces earlier ones. If the relation has not changed, its Relation is
// reused.
func (d *decoder) describe(m *pglogrepl.RelationMessage) {
	m.Namespace, m.RelationName = d.encoding.identifierName(m.Namespace), d.encoding.identifierName(m.RelationName)
	for _, column := range m.Columns {
		column.Name = d.encoding.identifierName(column.Name)
	}
	r := &loggedRelation{message: m, projections: map[*Table]*projection{}, matchedAt: noLSN}
	if old := d.relations[m.RelationID]; old != nil {
		for table, p := range old.projections {
			r.projections[table] = project(m, table, d.matcher.catalog, p)
		}
	}
	d.relations[m.RelationID] = r
}

// noLSN is a position at which no transaction commits.
const noLSN = ^LSN(0)

// relation returns the projection of a relation in the current transaction; nil if its changes are left out. known is false if
// the stream has not described the relation.
func (d *decoder) relation(id uint32) (p *projection, known bool, err error) {
	r := d.relations[id]
	if r == nil {
		return nil, false, nil
	}
	if commit := LSN(d.begin.FinalLSN); r.matchedAt != commit {
		if err := d.matcher.match(r, commit); err != nil {
			r.matchedAt = noLSN
			return nil, true, err
		}
	}
	d.mapped = d.mapped || r.mapped
	return r.projection, true, nil
}

// skippedChange takes a change of a transaction that is already durable.
func (d *decoder) skippedChange(id uint32) error {
	r := d.relations[id]
	if !d.history.pending() || r == nil || !d.matcher.owns(r.message) {
		return nil
	}
	return d.history.mappedChange(LSN(d.begin.FinalLSN))
}
