package cdc

import (
	"cmp"
	"fmt"
	"log/slog"

	"github.com/jackc/pglogrepl"
)

// Identity says which relation of the database a mapped table is. Names do not: a table can be renamed, moved or exchanged
// for another one within a transaction, and the WAL has the rows under the name of that moment.
type Identity struct {
	// Before is the OID of the relation whose rows the consumer has; 0 for none.
	Before uint32
	// After is the OID of the relation that the catalogue has under the table's name, or had last; 0 for none.
	After uint32
	// Compared: the consumer compares the table's rows with a snapshot as of Identities.Switch. What cannot be read of it before
	// is covered by that.
	Compared bool
}

// Identities are those of all mapped tables, as a consumer knows them when it begins to stream.
type Identities struct {
	Tables map[*Table]Identity
	// AsOf: the catalogue was read after everything before this position had been written.
	AsOf LSN
	// Switch is the position of the consumer's snapshot: transactions that commit before it are read by Before, later ones by
	// After.
	Switch LSN
}

// AlteredError ends a stream that has come to a change which the catalogue, as it was read before, does not explain. Nothing was
// skipped: the consumer is to read the catalogue again and stream again.
type AlteredError struct {
	Table *Table
	LSN   LSN // of the transaction's commit
	// Suspect: the WAL does not have all values of the table's rows, so they must be compared with a snapshot.
	Suspect bool
	Text    string
}

func (e *AlteredError) Error() string {
	return fmt.Sprintf("table %s.%s was altered before %s: %s", e.Table.Schema, e.Table.Name, e.LSN, e.Text)
}

// loggedRelation is a relation as the WAL last described it.
type loggedRelation struct {
	message *pglogrepl.RelationMessage
	// projections are the relation's, by the table that it is taken for.
	projections map[*Table]*projection
	// decided is what the relation is in the transaction with this commit position.
	matchedAt   LSN
	projection *projection // nil: its changes are left out
	mapped   bool        // its changes are those of a mapped table, also where they are left out
}

// identifier decides which relation is which mapped table.
type relationMatcher struct {
	byName        map[tableName]*Table
	catalog       *Catalog
	identities         *Identities // nil: the relation that first has a table's name is that table
	ownersBefore, ownersAfter map[uint32]*Table
	logger        *slog.Logger
}

func newRelationMatcher(tables []*Table, catalog *Catalog, known *Identities, logger *slog.Logger) *relationMatcher {
	i := &relationMatcher{
		byName: make(map[tableName]*Table, len(tables)), catalog: catalog, identities: known,
		ownersBefore: map[uint32]*Table{}, ownersAfter: map[uint32]*Table{}, logger: cmp.Or(logger, slog.New(slog.DiscardHandler)),
	}
	for _, t := range tables {
		i.byName[tableName{t.Schema, t.Name}] = t
		if known == nil {
			continue
		}
		if id := known.Tables[t]; id.Before != 0 {
			i.ownersBefore[id.Before] = t
		}
		if id := known.Tables[t]; id.After != 0 {
			i.ownersAfter[id.After] = t
		}
	}
	return i
}

// decide sets what the relation is in a transaction.
func (i *relationMatcher) match(r *loggedRelation, commit LSN) error {
	r.matchedAt, r.projection, r.mapped = commit, nil, false
	m := r.message
	named := i.byName[tableName{m.Namespace, m.RelationName}]
	if i.identities == nil {
		return i.learn(r, named, commit)
	}
	early := commit < i.identities.Switch
	owners := i.ownersAfter
	if early {
		owners = i.ownersBefore
	}
	table := owners[m.RelationID]
	if table == nil {
		return i.matchUnknown(r, named, commit, early)
	}
	r.mapped = true
	id := i.identities.Tables[table]
	if named != table {
		switch {
		case early && id.Compared && id.Before != id.After:
			return nil // another relation is the table by now, and is compared
		case commit >= i.identities.AsOf:
			return &AlteredError{Table: table, LSN: commit, Text: fmt.Sprintf("its rows are written under the name %s.%s", m.Namespace, m.RelationName)}
		}
		i.logger.Info("rows of a mapped table are read that were written under another name", "table", table.Name, "name", m.Namespace+"."+m.RelationName, "lsn", commit.String())
	}
	return i.checkColumns(r, table, commit, early && id.Compared)
}

// stranger takes a relation that is not known to be a mapped table, but may have the name of one.
func (i *relationMatcher) matchUnknown(r *loggedRelation, named *Table, commit LSN, early bool) error {
	if named == nil {
		return nil
	}
	id := i.identities.Tables[named]
	r.mapped = id.Before != 0
	if d := i.description(named); d != nil && d.absent() {
		return nil // withheld, and compared when it no longer is
	}
	switch {
	case early && id.After == r.message.RelationID:
		return nil // the snapshot has its rows
	case commit >= i.identities.AsOf:
		return &AlteredError{Table: named, LSN: commit, Text: "another table has its name"}
	}
	if !id.Compared {
		i.logger.Warn("another table had the name of a mapped one for a while; its rows are not read", "table", named.Name, "lsn", commit.String())
	}
	return nil
}

// learn takes the first relation that has a table's name for that table, whatever it is called later.
func (i *relationMatcher) learn(r *loggedRelation, named *Table, commit LSN) error {
	table := named
	if table == nil {
		table = i.ownersAfter[r.message.RelationID]
	}
	if table == nil {
		return nil
	}
	i.ownersAfter[r.message.RelationID] = table
	r.mapped = true
	return i.checkColumns(r, table, commit, false)
}

// check makes sure that the relation's columns are what the catalogue says. Covered: what is missing is compared later.
func (i *relationMatcher) checkColumns(r *loggedRelation, table *Table, commit LSN, covered bool) error {
	p := r.projections[table]
	if p == nil {
		p = project(r.message, table, i.catalog, nil)
		r.projections[table] = p
	}
	r.projection = p
	d := i.description(table)
	if d == nil || i.identities == nil {
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
	case p.broken != nil && commit < i.identities.AsOf:
		return &AlteredError{Table: table, LSN: commit, Suspect: true, Text: p.broken.Reason}
	case found != "" && commit >= i.identities.AsOf:
		return &AlteredError{Table: table, LSN: commit, Text: found}
	}
	return nil
}

func (i *relationMatcher) description(table *Table) *tableDescription {
	if i.catalog == nil {
		return nil
	}
	if d := i.catalog.description(table); d != nil && d.exists {
		return d
	}
	return nil
}

// compare says which mapped column the catalogue has and the WAL lacks, and the other way round. Columns come in the order of their
// numbers, so that two which have exchanged their names are noticed.
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
			found = fmt.Sprintf("it has the column %s", m.Columns[at].Name)
		case have.number < last:
			lost = fmt.Sprintf("the column %s was another one", m.Columns[at].Name)
		default:
			last = have.number
		}
	}
	for column, want := range d.table.Columns {
		if _, ok := d.columns[want.Name]; ok && !seen[column] && !d.masksColumn(column) {
			lost = fmt.Sprintf("the column %s was missing, or had another name", want.Name)
		}
	}
	return lost, found
}

// describe takes a relation's description. What it was described as before is forgotten, but for relations that have not changed.
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

// noLSN is the commit position of no transaction.
const noLSN = ^LSN(0)

// relation says what a relation is in the transaction that is being read. Nil: its changes are left out.
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

// skipped takes a change in a transaction that is durable already.
func (d *decoder) skippedChange(id uint32) error {
	r := d.relations[id]
	if !d.history.pending() || r == nil || !d.matcher.owns(r.message) {
		return nil
	}
	return d.history.mappedChange(LSN(d.begin.FinalLSN))
}

// owns reports whether a relation is, or then had the name of, a mapped table that the consumer has rows of.
func (i *relationMatcher) owns(m *pglogrepl.RelationMessage) bool {
	if i.identities == nil {
		return i.byName[tableName{m.Namespace, m.RelationName}] != nil
	}
	if i.ownersBefore[m.RelationID] != nil {
		return true
	}
	named := i.byName[tableName{m.Namespace, m.RelationName}]
	return named != nil && i.identities.Tables[named].Before != 0
}

// masks reports whether a column of the table counts as absent, so that what the WAL has of it must not leave.
func (c *Catalog) masks(table *Table, column int) bool {
	if c == nil {
		return false
	}
	d := c.description(table)
	return d != nil && d.exists && d.masksColumn(column)
}
