package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A table is read in slices, each in a short transaction of the snapshot: its lock, which an ALTER TABLE of the application
// would wait for, with the application's own statements behind that, is held only while the server sends at most sliceBytes.
// The consumer works between the slices. A row that the snapshot sees stays where it is (its ctid) as long as the table is not
// rewritten, which each slice checks.
const (
	// sliceBlocks and sliceBytes bound what a slice reads of the table, and what it returns.
	sliceBlocks = 1024
	sliceBytes  = 2 << 20
	// fetchBytes is how much is asked for at a time: what fits into the buffers of the connection, so that the server has sent it
	// even to a relay that is frozen, and then ends the idle transaction.
	fetchBytes             = 64 << 10
	firstFetch, mostFetch  = 8, 1000
	sliceLockTimeout, sliceIdleTimeout   = "2s", "5s"
	sliceStatementTimeout         = "60s"
	sliceRetryDelay             = 500 * time.Millisecond
	sliceAttempts          = 120
	firstRow             = "(0,0)"
	cursorName, cursorTail = "iam_relay_slice", " FROM iam_relay_slice"
)

// errRewritten: to a snapshot from before, a table that was rewritten or emptied looks empty.
// https://www.postgresql.org/docs/current/mvcc-caveats.html
var errRewritten = fmt.Errorf("%w: the table was rewritten, emptied or replaced meanwhile", ErrSnapshotGone)

// slicing is one table as the snapshot has it.
type tableReader struct {
	snapshot *Snapshot
	relation *Relation
	encoding *encoding
	columns  []string // quoted
	target   []int    // for each of columns, its place in Table.Columns
	cells    []cell

	oid, file, blocks int64
}

// Copy calls each for every row of the table, in no order, holding a bounded part of the table. The row may be kept. A table
// that is optional and missing has none.
func (s *Snapshot) Copy(ctx context.Context, table *Table, each func(Row) error) error {
	if err := s.copy(ctx, table, each); err != nil {
		return fmt.Errorf("copy table %s: %w", qualifiedName(table), err)
	}
	return nil
}

func (s *Snapshot) copy(ctx context.Context, table *Table, each func(Row) error) error {
	t, err := s.tableReader(ctx, table)
	if t == nil || err != nil {
		return err
	}
	for block, after := int64(0), firstRow; block < t.blocks; {
		end := min(block+sliceBlocks, t.blocks)
		rows, last, err := t.readWithRetry(ctx, fmt.Sprintf("ctid > '%s'::tid AND ctid < '(%d,0)'::tid", after, end))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := each(row); err != nil {
				return err
			}
		}
		if after = last; last == "" {
			block, after = end, fmt.Sprintf("(%d,0)", end)
		}
	}
	return nil
}

// Row reads the row whose key columns have the given texts; nil if there is none, or if a key is hashed and so cannot be
// looked for.
func (s *Snapshot) Row(ctx context.Context, table *Table, key []string) (Row, error) {
	if slices.ContainsFunc(table.Columns[:table.KeyColumns], func(c Column) bool { return c.Hash }) {
		return nil, nil
	}
	row, err := s.row(ctx, table, key)
	if err != nil {
		return nil, fmt.Errorf("read a row of table %s: %w", qualifiedName(table), err)
	}
	return row, nil
}

func (s *Snapshot) row(ctx context.Context, table *Table, key []string) (Row, error) {
	t, err := s.tableReader(ctx, table)
	if t == nil || err != nil {
		return nil, err
	}
	where := make([]string, len(key))
	for i, text := range key {
		where[i] = t.columns[i] + " = " + literal(text)
	}
	rows, _, err := t.readWithRetry(ctx, strings.Join(where, " AND "))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == codeUndefinedFunction {
		for i, text := range key { // the type's own operator is in a schema that is not searched
			where[i] = t.columns[i] + "::text = " + literal(text)
		}
		rows, _, err = t.readWithRetry(ctx, strings.Join(where, " AND "))
	}
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// slicing looks a table up as the snapshot has it; nil if it is optional and missing.
func (s *Snapshot) tableReader(ctx context.Context, table *Table) (*tableReader, error) {
	if s.reader == nil {
		config, err := pgx.ParseConfig(s.url)
		if err != nil {
			return nil, ErrURL
		}
		config.ConnectTimeout = connectTimeout
		Pin(&config.Config, map[string]string{
			"statement_timeout": sliceStatementTimeout, "lock_timeout": sliceLockTimeout, "idle_in_transaction_session_timeout": sliceIdleTimeout,
			// So that the server reads the blocks of a slice, and not the table.
			"enable_seqscan": "off",
		})
		if s.reader, err = pgx.ConnectConfig(ctx, config); err != nil {
			return nil, fmt.Errorf("connect to the source: %w", ConnectReason(err))
		}
		if err := requestRawText(ctx, s.reader.PgConn()); err != nil {
			return nil, err
		}
	}
	conn := s.reader.PgConn()
	begin := importSnapshot(s.Name)
	if encodingOf(conn).name != sqlASCII {
		begin += "; SET LOCAL client_encoding = 'UTF8'" // of names
	}
	if _, err := conn.Exec(ctx, begin).ReadAll(); err != nil {
		return nil, snapshotError(err)
	}
	t, err := s.lookUp(ctx, table)
	if _, end := conn.Exec(ctx, "ROLLBACK").ReadAll(); err == nil {
		err = end
	}
	return t, snapshotError(err)
}

func (s *Snapshot) lookUp(ctx context.Context, table *Table) (*tableReader, error) {
	catalog, err := Describe(ctx, s.reader, append([]*Table{table}, table.parents()...))
	if err != nil {
		return nil, err
	}
	t := &tableReader{snapshot: s, encoding: encodingOf(s.reader.PgConn()), relation: catalog.Relation(table.Name), cells: make([]cell, len(table.Columns))}
	if t.relation == nil {
		if table.Optional {
			return nil, nil //nolint:nilnil // a missing table has no rows
		}
		return nil, errors.New("it does not exist")
	}
	for i, column := range table.Columns {
		if t.relation.Types[i] != 0 {
			t.columns = append(t.columns, pgx.Identifier{column.Name}.Sanitize())
			t.target = append(t.target, i)
		} else if !column.Optional || i < table.KeyColumns {
			return nil, fmt.Errorf("column %s does not exist", column.Name)
		}
	}
	var same bool // looked up last: a table that is emptied now has no blocks
	err = s.reader.QueryRow(ctx, `SELECT c.oid::bigint, c.relfilenode::bigint, coalesce(pg_relation_size(c.oid) / current_setting('block_size')::bigint, 0),
			coalesce(pg_relation_filenode(c.oid) = c.relfilenode, false)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`, table.Schema, table.Name).
		Scan(&t.oid, &t.file, &t.blocks, &same)
	if err == nil && !same {
		err = errRewritten
	}
	return t, err
}

// patiently reads a slice, and tries again where others have the table locked.
func (t *tableReader) readWithRetry(ctx context.Context, where string) ([]Row, string, error) {
	for attempt := 1; ; attempt++ {
		rows, last, err := t.readSlice(ctx, where)
		if err == nil {
			return rows, last, nil
		}
		if _, end := t.snapshot.reader.PgConn().Exec(context.WithoutCancel(ctx), "ROLLBACK").ReadAll(); end != nil {
			return nil, "", snapshotError(err)
		}
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != codeLockNotAvailable || attempt == sliceAttempts {
			return nil, "", snapshotError(err)
		}
		if err := sleep(ctx, sliceRetryDelay); err != nil {
			return nil, "", err
		}
	}
}

// read reads one slice in a transaction of its own. last is the place of its last row if there may be more.
func (t *tableReader) readSlice(ctx context.Context, where string) (rows []Row, last string, err error) {
	conn, size := t.snapshot.reader.PgConn(), 0
	// What the catalogue says now is compared with what it says in the snapshot. The name is looked up again by the SELECT.
	same := fmt.Sprintf("SELECT pg_relation_filenode(%d) = %d AND to_regclass(%s)::oid = %d", t.oid, t.file, literal(quoteTable(t.relation.Table)), t.oid)
	sql := fmt.Sprintf("%s; DECLARE %s NO SCROLL CURSOR FOR SELECT ctid, %s FROM ONLY %s WHERE %s; %s; ", importSnapshot(t.snapshot.Name), cursorName,
		strings.Join(t.columns, ", "), quoteTable(t.relation.Table), where, same)
	encoded, ok := t.encoding.fromUTF8(sql)
	if !ok { // a key that the database cannot have
		return nil, "", nil
	}
	sql = string(encoded)
	for {
		asked := t.snapshot.fetch
		f := fetch{tableReader: t, room: sliceBytes - size}
		if err := f.collect(conn.Exec(ctx, sql+"FETCH "+strconv.Itoa(asked)+cursorTail)); err != nil {
			return nil, "", err
		}
		rows, size = append(rows, f.rows...), size+f.size
		if f.last != "" {
			last = f.last
		}
		if f.count > 0 {
			t.snapshot.fetch = max(1, min(mostFetch, 2*asked, fetchBytes/(f.size/max(1, len(f.rows))+1)))
		}
		if f.count < asked && !f.overflow {
			last = ""
		}
		if f.count < asked || size >= sliceBytes {
			break
		}
		sql = ""
	}
	_, err = conn.Exec(ctx, "COMMIT").ReadAll()
	return rows, last, err
}

// fetched is what one round trip has brought.
type fetch struct {
	*tableReader
	room  int
	rows  []Row
	size  int
	count int    // rows that came, also those that were left for the next slice
	overflow  bool   // some were left
	last  string // the place of the last row that was taken
}

func (f *fetch) collect(results *pgconn.MultiResultReader) error {
	var failed error
	for results.NextResult() {
		reader := results.ResultReader()
		for reader.NextRow() {
			if failed == nil {
				failed = f.add(reader.Values())
			}
		}
	}
	return errors.Join(results.Close(), failed)
}

func (f *fetch) add(values [][]byte) error {
	if len(values) == 1 { // not the cursor's
		if string(values[0]) != "t" {
			return errRewritten
		}
		return nil
	}
	if f.count++; f.overflow || len(f.rows) > 0 && f.size >= f.room {
		f.overflow = true
		return nil
	}
	clear(f.cells)
	size := 0
	for i, value := range values[1:] {
		if value == nil {
			f.cells[f.target[i]].kind = Null
			continue
		}
		value = f.encoding.toUTF8(value)
		f.cells[f.target[i]] = cell{kind: Text, text: value}
		size += len(value)
	}
	row, err := f.relation.row(f.cells, size)
	f.rows, f.size, f.last = append(f.rows, row), f.size+size, string(values[0])
	return err
}

// gone makes of errors that a new snapshot would not meet one that says so.
func snapshotError(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch pgErr.Code {
	case codeInvalidParameter, codeUndefinedObject: // the session that held the snapshot has ended
		return fmt.Errorf("%w: %w", ErrSnapshotGone, err)
	case codeUndefinedTable, codeUndefinedColumn:
		return fmt.Errorf("%w: the table was altered meanwhile: %w", ErrSnapshotGone, err)
	case codeLockNotAvailable:
		return fmt.Errorf("another session keeps it locked: %w", err)
	case "25P03", "25P04", "57014", "40001", codeDeadlock:
		return fmt.Errorf("%w: %w", ErrSnapshotGone, err)
	}
	return err
}
