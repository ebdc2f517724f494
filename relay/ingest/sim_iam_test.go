package ingest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// simRow is a row by column name, with its key in "id".
type simRow map[string]string

// simRows is the content of the IAM's tables by table and key. Its rows are never modified.
type simRows map[string]map[string]simRow

func (s simRows) clone() simRows {
	c := simRows{}
	for table, rows := range s {
		c[table] = maps.Clone(rows)
	}
	return c
}

// simParents holds the foreign keys by table and column. All of them are ON DELETE CASCADE.
var simParents = map[string]map[string]string{
	"realms": {}, "users": {"realm_id": "realms"}, "tags": {"user_id": "users"}, "credentials": {"user_id": "users"},
	"webhooks": {"realm_id": "realms"}, "webhook_events": {"webhook_id": "webhooks"},
}

// simValues holds the other columns, with their possible values.
var simValues = map[string]map[string][]string{
	"realms": {"name": {"acme", "globex", "master"}}, "users": {"name": {"ann", "bob"}, "note": {"short", strings.Repeat("long ", 100)}},
	"tags": {"label": {"x", "y"}}, "credentials": {"kind": {"password", "otp"}},
	"webhooks": {"url": {"https://one.example/", "https://two.example/"}}, "webhook_events": {"name": {"*", "user.created", "realm.deleted"}},
}

var simTables = slices.Sorted(maps.Keys(simParents))

// simTransaction is a committed transaction.
type simTransaction struct {
	commit, end   cdc.LSN
	at            time.Time
	xid           uint32
	changes       []cdc.Change
	before, after simRows
	reconciled    bool // stands for all transactions of a gap in the WAL
}

// simIAM is the source: tables, and a WAL that begins after the last lost slot.
type simIAM struct {
	catalog simCatalog
	rows    simRows
	lsn     cdc.LSN
	now     time.Time
	xid     uint32
	wal     []*simTransaction
}

func newSimIAM(catalog simCatalog) *simIAM {
	rows := simRows{}
	for _, table := range simTables {
		rows[table] = map[string]simRow{}
	}
	return &simIAM{catalog: catalog, rows: rows, lsn: 100, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), xid: 700}
}

// simWriter executes the statements of one transaction.
type simWriter struct {
	*simIAM
	*rand.Rand
	before  simRows
	changes []cdc.Change
}

// commit executes a transaction of random statements.
func (m *simIAM) commit(statements int, random *rand.Rand) *simTransaction {
	w := &simWriter{simIAM: m, Rand: random, before: m.rows}
	m.rows = m.rows.clone()
	for range statements {
		w.statement()
	}
	m.xid++
	tx := &simTransaction{commit: m.lsn + 10, end: m.lsn + 20, at: m.now, xid: m.xid, changes: w.changes, before: w.before, after: m.rows}
	m.lsn += 20
	m.wal = append(m.wal, tx)
	return tx
}

func (w *simWriter) record(table string, c cdc.Change) {
	c.Seq, c.Relation = len(w.changes), w.catalog[table]
	w.changes = append(w.changes, c)
}

// statement executes one statement. There are few keys, so that they are used again.
func (w *simWriter) statement() {
	table := simTables[w.IntN(len(simTables))]
	if table == "realms" && w.IntN(3) > 0 { // realms live longer
		table = "users"
	}
	id := w.key(table)
	row, exists := w.rows[table][id]
	switch n := w.IntN(60); {
	case n == 0:
		w.truncate(table)
	case !exists:
		w.insert(table, id)
	case n < 20:
		w.remove(table, id)
	default:
		w.update(table, row)
	}
}

func (w *simWriter) key(table string) string {
	n := 6
	if table == "realms" {
		n = 4
	}
	return fmt.Sprintf("%s-%d", table, w.IntN(n))
}

// draw sets the row's columns, some of them to what they are. It reports false if a parent is missing.
func (w *simWriter) draw(table string, row simRow) bool {
	for _, column := range slices.Sorted(maps.Keys(simParents[table])) {
		keys := slices.Sorted(maps.Keys(w.rows[simParents[table][column]]))
		if len(keys) == 0 {
			return false
		}
		if _, set := row[column]; !set || w.IntN(3) == 0 {
			row[column] = keys[w.IntN(len(keys))]
		}
	}
	for _, column := range slices.Sorted(maps.Keys(simValues[table])) {
		if _, set := row[column]; !set || w.IntN(2) == 0 {
			row[column] = simValues[table][column][w.IntN(len(simValues[table][column]))]
		}
	}
	return true
}

func (w *simWriter) insert(table, id string) {
	row := simRow{"id": id}
	if !w.draw(table, row) {
		return
	}
	w.rows[table][id] = row
	w.record(table, cdc.Change{Op: cdc.Insert, Key: cdc.Key(id), New: w.asRow(table, row)})
}

// asRow returns the row as the WAL contains it.
func (m *simIAM) asRow(table string, row simRow) cdc.Row {
	columns := m.catalog.table(table).Columns
	values := make(cdc.Row, len(columns))
	for i := range columns {
		values[i] = cdc.TextValue(row[columns[i].Name])
	}
	return values
}

// update changes a row, and perhaps its key. The WAL does not contain a large value that stays as it is.
func (w *simWriter) update(table string, old simRow) {
	row := maps.Clone(old)
	w.draw(table, row)
	values := w.asRow(table, row)
	for i, column := range w.catalog.table(table).Columns {
		if text := row[column.Name]; len(text) > 100 && text == old[column.Name] {
			values[i] = cdc.Value{Kind: cdc.Unchanged}
		}
	}
	id := old["id"]
	to := w.key(table)
	if _, taken := w.rows[table][to]; taken || w.IntN(3) > 0 || w.referenced(table, id) {
		w.rows[table][id] = row
		w.record(table, cdc.Change{Op: cdc.Update, Key: cdc.Key(id), New: values})
		return
	}
	row["id"], values[0] = to, cdc.TextValue(to)
	delete(w.rows[table], id)
	w.rows[table][to] = row
	w.record(table, cdc.Change{Op: cdc.Delete, Key: cdc.Key(id)})
	w.record(table, cdc.Change{Op: cdc.Insert, Key: cdc.Key(to), New: values, Moved: true, OldKey: cdc.Key(id)})
}

// children calls each for the rows that refer to the row.
func (s simRows) children(table, id string, each func(child, childID string)) {
	for _, child := range simTables {
		for column, parent := range simParents[child] {
			for _, childID := range slices.Sorted(maps.Keys(s[child])) {
				if parent == table && s[child][childID][column] == id {
					each(child, childID)
				}
			}
		}
	}
}

// referenced reports whether rows refer to the row, now or when the transaction began.
func (w *simWriter) referenced(table, id string) (found bool) {
	for _, rows := range []simRows{w.rows, w.before} {
		rows.children(table, id, func(string, string) { found = true })
	}
	return found
}

func (w *simWriter) remove(table, id string) {
	delete(w.rows[table], id)
	w.record(table, cdc.Change{Op: cdc.Delete, Key: cdc.Key(id)})
	w.rows.children(table, id, w.remove)
}

// truncate is TRUNCATE … CASCADE.
func (w *simWriter) truncate(table string) {
	w.rows[table] = map[string]simRow{}
	w.record(table, cdc.Change{Op: cdc.Truncate})
	for _, child := range simTables {
		if slices.Contains(slices.Collect(maps.Values(simParents[child])), table) {
			w.truncate(child)
		}
	}
}
