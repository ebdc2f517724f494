package cdc

import (
	"cmp"
	"fmt"
	"log/slog"

	"github.com/jackc/pglogrepl"
)

// loggedRelation is a relation as the WAL last described it.
type loggedRelation struct {
	message *pglogrepl.RelationMessage
	// projections are the relation's, by the table that it is matched with.
	projections map[*Table]*projection
	// matchedAt is the commit position of the transaction for which projection and mapped were decided.
	matchedAt  LSN
	projection *projection // nil: the relation's changes are left out
	mapped     bool        // its changes are those of a mapped table, even if they are left out
}

// relationMatcher decides which relation of the WAL is which mapped table.
type relationMatcher struct {
	byName                    map[tableName]*Table
	catalog                   *Catalog
	identities                *Identities // nil: the first relation with a table's name is that table
	ownersBefore, ownersAfter map[uint32]*Table
	logger                    *slog.Logger
}

type tableName struct{ schema, name string }

func newRelationMatcher(tables []*Table, catalog *Catalog, known *Identities, logger *slog.Logger) *relationMatcher {
	rm := &relationMatcher{
		byName: make(map[tableName]*Table, len(tables)), catalog: catalog, identities: known,
		ownersBefore: map[uint32]*Table{}, ownersAfter: map[uint32]*Table{}, logger: cmp.Or(logger, slog.New(slog.DiscardHandler)),
	}
	for _, t := range tables {
		rm.byName[tableName{t.Schema, t.Name}] = t
		if known == nil {
			continue
		}
		if id := known.Tables[t]; id.Before != 0 {
			rm.ownersBefore[id.Before] = t
		}
		if id := known.Tables[t]; id.After != 0 {
			rm.ownersAfter[id.After] = t
		}
	}
	return rm
}

// match decides what the relation is in the transaction with the commit position.
func (rm *relationMatcher) match(r *loggedRelation, commit LSN) error {
	r.matchedAt, r.projection, r.mapped = commit, nil, false
	m := r.message
	named := rm.byName[tableName{m.Namespace, m.RelationName}]
	if rm.identities == nil {
		return rm.learn(r, named, commit)
	}
	early := commit < rm.identities.SnapshotLSN
	owners := rm.ownersAfter
	if early {
		owners = rm.ownersBefore
	}
	table := owners[m.RelationID]
	if table == nil {
		return rm.matchUnknown(r, named, commit, early)
	}
	r.mapped = true
	id := rm.identities.Tables[table]
	if named != table {
		switch {
		case early && id.Compared && id.Before != id.After:
			return nil // the table is another relation by now, and is compared
		case commit >= rm.identities.AsOf:
			return &AlteredError{Table: table, LSN: commit, Text: fmt.Sprintf("its rows were written under the name %s.%s", m.Namespace, m.RelationName)}
		}
		rm.logger.Info("reading rows of a mapped table that were written under another name", "table", table.Name, "name", m.Namespace+"."+m.RelationName, "lsn", commit.String())
	}
	return rm.checkColumns(r, table, commit, early && id.Compared)
}

// matchUnknown handles a relation that is not known to be a mapped table, but may have the name of one.
func (rm *relationMatcher) matchUnknown(r *loggedRelation, named *Table, commit LSN, early bool) error {
	if named == nil {
		return nil
	}
	id := rm.identities.Tables[named]
	r.mapped = id.Before != 0
	if d := rm.description(named); d != nil && d.absent() {
		return nil // withheld; it is compared as soon as it no longer is
	}
	switch {
	case early && id.After == r.message.RelationID:
		return nil // the snapshot has its rows
	case commit >= rm.identities.AsOf:
		return &AlteredError{Table: named, LSN: commit, Text: "another table has its name now"}
	}
	if !id.Compared {
		rm.logger.Warn("ignoring rows of another table that temporarily had the name of a mapped table", "table", named.Name, "lsn", commit.String())
	}
	return nil
}

// learn takes the first relation with a table's name as that table, whatever its name is later.
func (rm *relationMatcher) learn(r *loggedRelation, named *Table, commit LSN) error {
	table := named
	if table == nil {
		table = rm.ownersAfter[r.message.RelationID]
	}
	if table == nil {
		return nil
	}
	rm.ownersAfter[r.message.RelationID] = table
	r.mapped = true
	return rm.checkColumns(r, table, commit, false)
}

// checkColumns verifies that the relation has the columns that the catalog has. If covered, a later comparison finds what is
// missing.
func (rm *relationMatcher) checkColumns(r *loggedRelation, table *Table, commit LSN, covered bool) error {
	p := r.projections[table]
	if p == nil {
		p = project(r.message, table, rm.catalog, nil)
		r.projections[table] = p
	}
	r.projection = p
	d := rm.description(table)
	if d == nil || rm.identities == nil {
		return nil
	}
	lost, found := d.compareColumns(r.message, p)
	switch {
	case covered && p.broken != nil:
		r.projection = nil
		return nil
	case covered:
		return nil
	case lost != "":
		return &AlteredError{Table: table, LSN: commit, Suspect: true, Text: lost}
	case p.broken != nil && commit < rm.identities.AsOf:
		return &AlteredError{Table: table, LSN: commit, Suspect: true, Text: p.broken.Reason}
	case found != "" && commit >= rm.identities.AsOf:
		return &AlteredError{Table: table, LSN: commit, Text: found}
	}
	return nil
}

func (rm *relationMatcher) description(table *Table) *tableDescription {
	if rm.catalog == nil {
		return nil
	}
	if d := rm.catalog.description(table); d != nil && d.exists {
		return d
	}
	return nil
}

// compareColumns returns a mapped column that the catalog has and the WAL lacks, and one that the WAL has and the catalog
// lacks, as sentences; empty if there is none. Columns are in the order of their numbers, so two columns that have exchanged
// names are noticed.
func (d *tableDescription) compareColumns(m *pglogrepl.RelationMessage, p *projection) (lost, found string) {
	last := int16(0)
	seen := make([]bool, len(d.table.Columns))
	for at, target := range p.target {
		if target < 0 {
			continue
		}
		seen[target] = true
		have, ok := d.columns[m.Columns[at].Name]
		switch {
		case !ok:
			found = fmt.Sprintf("the WAL has the additional column %s", m.Columns[at].Name)
		case have.number < last:
			lost = fmt.Sprintf("column %s was a different column", m.Columns[at].Name)
		default:
			last = have.number
		}
	}
	for column, want := range d.table.Columns {
		if _, ok := d.columns[want.Name]; ok && !seen[column] && !d.masksColumn(column) {
			lost = fmt.Sprintf("column %s was missing or had another name", want.Name)
		}
	}
	return lost, found
}

// owns reports whether the relation is, or had at the time the name of, a mapped table of which the consumer has rows.
func (rm *relationMatcher) owns(m *pglogrepl.RelationMessage) bool {
	if rm.identities == nil {
		return rm.byName[tableName{m.Namespace, m.RelationName}] != nil
	}
	if rm.ownersBefore[m.RelationID] != nil {
		return true
	}
	named := rm.byName[tableName{m.Namespace, m.RelationName}]
	return named != nil && rm.identities.Tables[named].Before != 0
}
