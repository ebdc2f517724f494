package cdc

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// tableDescription is one mapped table as it exists in the database.
type tableDescription struct {
	table  *Table
	exists bool
	oid    uint32
	// kind, persistence and identity are relkind, relpersistence and relreplident.
	// https://www.postgresql.org/docs/current/catalog-pg-class.html
	kind, persistence, identity string
	schemaUsage                 bool     // the role has USAGE on the schema
	children                    []string // tables that inherit from it (schema.name), sorted
	ctidReadable                bool     // the role may read ctid, by which tables are read in slices
	deferrable                  bool     // the primary key is deferrable
	columns                     map[string]column
	unique                      [][]string // the columns of each unique index without exceptions; those of the primary key first
	relation                    *Relation  // nil if the table is missing or counts as absent
	withheld                    []Problem  // why the table, or columns of it, count as absent although they exist
}

// column is one mapped column as it exists in the database.
type column struct {
	number     int16
	typeOID    uint32
	inIdentity bool // part of the replica identity
	generated  bool
	readable   bool // by the role
	nullable   bool
	// unpublished: the publication has a column list without it.
	unpublished bool
	// addedDefault is the text that ADD COLUMN … DEFAULT gave existing rows; nil is NULL or unknown.
	addedDefault []byte
	// nondeterministic: its collation is nondeterministic.
	nondeterministic bool
	// incomparable is why it cannot be compared with the key that it references, and fix the remedy; both are empty if it can.
	incomparable, fix string
}

const (
	kindTable            = "r"
	persistencePermanent = "p"
	identityFull         = "f"
)

const describeTables = `
SELECT want.at, c.oid, c.relkind::text, c.relpersistence::text, c.relreplident::text, has_schema_privilege(n.oid, 'USAGE'), CASE WHEN c.relkind = 'r' THEN has_column_privilege(c.oid, (-1)::int2, 'SELECT') ELSE false END,
       ARRAY(SELECT cn.nspname || '.' || child.relname FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid
             JOIN pg_namespace cn ON cn.oid = child.relnamespace WHERE i.inhparent = c.oid ORDER BY 1),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want (schema, name, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`

const describeColumns = `
SELECT want.at, a.attname, a.attnum, a.atttypid, a.attgenerated <> '',
       CASE WHEN a.atthasmissing THEN convert_to((a.attmissingval::text::text[])[1], $4) END,
       has_column_privilege(c.oid, a.attnum, 'SELECT'),
       c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index i WHERE a.attnum = ANY (i.indkey) AND ` + identityIndex + `),
       NOT (a.attnotnull OR EXISTS (SELECT FROM pg_type t WHERE t.oid = a.atttypid AND t.typnotnull)),
       EXISTS (SELECT FROM pg_collation l WHERE l.oid = a.attcollation AND NOT l.collisdeterministic)
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS want (schema, name, columns, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = ANY (string_to_array(want.columns, E'\n')) AND a.attnum > 0 AND NOT a.attisdropped`

// Partial, deferrable and expression indexes are left out: they do not make every two rows distinct.
const describeUnique = `
SELECT want.at, ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want (schema, name, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind = 'r'
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY want.at, NOT i.indisprimary, i.indexrelid`

const describeNamed = `SELECT oid, typtype = 'e' FROM pg_type WHERE typtype = 'e' OR typname = 'citext' AND typtype = 'b'`

const describeDomains = `SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'`

func (c *Catalog) readTables(ctx context.Context, conn *pgx.Conn, tables []*Table) error {
	schemas, names := schemasAndNames(tables)
	var index int
	var d tableDescription
	var usage, ctid privilege
	return queryEach(ctx, conn, describeTables, []any{schemas, names},
		[]any{&index, &d.oid, &d.kind, &d.persistence, &d.identity, &usage, &ctid, &d.children, &d.deferrable},
		func() {
			found := c.tables[index-1]
			found.exists, found.oid, found.kind, found.persistence, found.identity = true, d.oid, d.kind, d.persistence, d.identity
			found.schemaUsage, found.ctidReadable, found.children, found.deferrable = bool(usage), bool(ctid), slices.Clone(d.children), d.deferrable
		})
}

func (c *Catalog) readColumns(ctx context.Context, conn *pgx.Conn, tables []*Table) error {
	schemas, names := schemasAndNames(tables)
	encoding := encodingOf(conn.PgConn())
	var index int
	var name string
	var col column
	var readable privilege
	return queryEach(ctx, conn, describeColumns, []any{schemas, names, columnNames(tables), encoding.rawName()},
		[]any{&index, &name, &col.number, &col.typeOID, &col.generated, &col.addedDefault, &readable, &col.inIdentity, &col.nullable, &col.nondeterministic},
		func() {
			if col.addedDefault != nil {
				col.addedDefault = encoding.toUTF8(col.addedDefault)
			}
			col.readable = bool(readable)
			c.tables[index-1].columns[name] = col
			col.addedDefault = nil
		})
}

func (c *Catalog) readUniqueIndexes(ctx context.Context, conn *pgx.Conn, tables []*Table) error {
	schemas, names := schemasAndNames(tables)
	var index int
	var columns []string
	return queryEach(ctx, conn, describeUnique, []any{schemas, names}, []any{&index, &columns}, func() {
		c.tables[index-1].unique = append(c.tables[index-1].unique, slices.Clone(columns))
	})
}

func (c *Catalog) readTypes(ctx context.Context, conn *pgx.Conn) error {
	var oid, base uint32
	if err := queryEach(ctx, conn, describeDomains, nil, []any{&oid, &base}, func() { c.domains[oid] = base }); err != nil {
		return err
	}
	var enum bool
	return queryEach(ctx, conn, describeNamed, nil, []any{&oid, &enum}, func() {
		if c.typeClasses[oid] = caseInsensitiveClass; enum {
			c.typeClasses[oid] = exactClass
		}
	})
}

// privilege is the result of a has_…_privilege function. These functions read the current catalog instead of the statement's
// snapshot, and return NULL for an object that was dropped since: https://www.postgresql.org/docs/current/functions-info.html
type privilege bool

// ScanBool implements pgtype.BoolScanner.
func (p *privilege) ScanBool(v pgtype.Bool) error {
	if !v.Valid {
		return ErrCatalogChanged
	}
	*p = privilege(v.Bool)
	return nil
}

// queryEach runs a query and calls each after every row has been scanned into the targets.
func queryEach(ctx context.Context, conn *pgx.Conn, sql string, args, into []any, each func()) error {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		each()
		return nil
	})
	return err
}
