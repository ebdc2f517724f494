package cdc

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Catalog is what the database says about the mapped tables.
type Catalog struct {
	tables  []*tableDescription
	domains map[uint32]uint32    // domain → the type that it is made of
	typeClasses   map[uint32]typeClass // of types whose OIDs differ from database to database
}

// description is one table as it is in the database.
type tableDescription struct {
	table  *Table
	exists bool
	oid    uint32
	// kind, persistence and identity are relkind, relpersistence and relreplident.
	// https://www.postgresql.org/docs/current/catalog-pg-class.html
	kind, persistence, identity string
	schemaUsage                       bool     // the role may use the schema
	children                    []string // tables that inherit from it (schema.name), sorted
	ctidReadable                      bool     // the role may read where its rows are (ctid), by which tables are read in slices
	deferrable                  bool     // its primary key is checked at COMMIT only
	columns                     map[string]column
	unique                      [][]string // the columns of each index that tells any two rows apart; the primary key's first
	relation                    *Relation  // nil also for an optional table that counts as absent
	withheld                    []Problem  // why the table, or a column of it, counts as absent although it exists
}

type column struct {
	number     int16
	typeOID    uint32
	inIdentity bool // in the replica identity
	generated  bool
	readable   bool // by the role
	nullable   bool
	// unpublished: the publication's column list leaves it out.
	unpublished bool
	// missing is the value that ADD COLUMN … DEFAULT gave the rows that were there; nil is NULL or unknown.
	addedDefault []byte
	// loose: it has a nondeterministic collation.
	nondeterministic bool
	// incomparable is why it cannot be compared with the key that it refers to, remedy what to do; empty if it can.
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

// What is unique only in part of the rows, only at COMMIT, or only by an expression, does not count.
const describeUnique = `
SELECT want.at, ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want (schema, name, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind = 'r'
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY want.at, NOT i.indisprimary, i.indexrelid`

const describeNamed = `SELECT oid, typtype = 'e' FROM pg_type WHERE typtype = 'e' OR typname = 'citext' AND typtype = 'b'`

const describeDomains = `SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'`

// Describe looks the tables up. That something is missing is not an error: see Problems. The error is ErrCatalogChanged if something was
// dropped while it was looked up.
func Describe(ctx context.Context, conn *pgx.Conn, tables []*Table) (*Catalog, error) {
	c := &Catalog{domains: map[uint32]uint32{}, typeClasses: map[uint32]typeClass{}}
	schemas, names := schemasAndNames(tables)
	for _, table := range tables {
		c.tables = append(c.tables, &tableDescription{table: table, columns: map[string]column{}})
	}
	var at int
	var d tableDescription
	var usage, placed, readable privilege
	err := queryEach(ctx, conn, describeTables, []any{schemas, names}, []any{&at, &d.oid, &d.kind, &d.persistence, &d.identity, &usage, &placed, &d.children, &d.deferrable}, func() {
		found := c.tables[at-1]
		found.exists, found.oid, found.kind, found.persistence, found.identity, found.schemaUsage = true, d.oid, d.kind, d.persistence, d.identity, bool(usage)
		found.ctidReadable, found.children, found.deferrable = bool(placed), slices.Clone(d.children), d.deferrable
	})
	if err != nil {
		return nil, fmt.Errorf("look up the mapped tables: %w", err)
	}
	var name string
	var col column
	stored := encodingOf(conn.PgConn())
	err = queryEach(ctx, conn, describeColumns, []any{schemas, names, columnNames(tables), stored.rawName()},
		[]any{&at, &name, &col.number, &col.typeOID, &col.generated, &col.addedDefault, &readable, &col.inIdentity, &col.nullable, &col.nondeterministic},
		func() {
			if col.addedDefault != nil {
				col.addedDefault = stored.toUTF8(col.addedDefault)
			}
			col.readable = bool(readable)
			c.tables[at-1].columns[name] = col
			col.addedDefault = nil
		})
	if err != nil {
		return nil, fmt.Errorf("look up the columns of the mapped tables: %w", err)
	}
	var unique []string
	err = queryEach(ctx, conn, describeUnique, []any{schemas, names}, []any{&at, &unique}, func() {
		c.tables[at-1].unique = append(c.tables[at-1].unique, slices.Clone(unique))
	})
	if err != nil {
		return nil, fmt.Errorf("look up the unique indexes of the mapped tables: %w", err)
	}
	var domain, base uint32
	err = queryEach(ctx, conn, describeDomains, nil, []any{&domain, &base}, func() { c.domains[domain] = base })
	if err != nil {
		return nil, fmt.Errorf("look up the domains: %w", err)
	}
	var enum bool
	err = queryEach(ctx, conn, describeNamed, nil, []any{&domain, &enum}, func() {
		if c.typeClasses[domain] = caseInsensitiveClass; enum {
			c.typeClasses[domain] = exactClass
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look up the types: %w", err)
	}
	for _, d := range c.tables {
		c.checkReferences(d)
	}
	for _, d := range c.tables {
		c.decideAvailability(d)
	}
	return c, nil
}

// privilege is what has_…_privilege says. It looks at the catalogue as it is now, not as the statement's snapshot has it, and returns
// NULL for what has been dropped since: https://www.postgresql.org/docs/current/functions-info.html
type privilege bool

// ScanBool takes the answer from pgx.
func (p *privilege) ScanBool(v pgtype.Bool) error {
	if !v.Valid {
		return ErrCatalogChanged
	}
	*p = privilege(v.Bool)
	return nil
}

// settle decides what of a table counts as there.
func (c *Catalog) decideAvailability(d *tableDescription) {
	d.withheld = d.findWithheld()
	d.relation = c.newRelation(d)
}

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

func (c *Catalog) newRelation(d *tableDescription) *Relation {
	if !d.exists || d.absent() {
		return nil
	}
	types := make([]uint32, len(d.table.Columns))
	for i := range types {
		if col, ok := d.columns[d.table.Columns[i].Name]; ok && !d.masksColumn(i) {
			types[i] = c.baseType(col.typeOID)
		}
	}
	return &Relation{Table: d.table, Types: types, CanonicalForms: c.canonicalForms(d.table, types)}
}

// baseType resolves a domain, also one over domains. Any other type stands for itself, as does everything for a nil
// Catalog.
func (c *Catalog) baseType(oid uint32) uint32 {
	if c == nil {
		return oid
	}
	for range len(c.domains) {
		base, ok := c.domains[oid]
		if !ok {
			break
		}
		oid = base
	}
	return oid
}

// Relation returns the named table as the relay may read it now, or nil if it is missing or counts as absent. The name is
// Table.Name.
func (c *Catalog) Relation(name string) *Relation {
	for _, d := range c.tables {
		if d.table.Name == name {
			return d.relation
		}
	}
	return nil
}
