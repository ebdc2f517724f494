package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Copy calls each for every row of the table, in no particular order, while holding a bounded part of the table in memory. each
// may keep the row. An optional table that is missing has no rows. The error is ErrSnapshotGone if a migration has changed the
// table since.
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

// Row reads the row whose key columns have the given texts. It returns nil if there is none, or if a key column is hashed,
// since its value is then unknown.
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
		for i, text := range key { // the type's = operator is in a schema outside search_path
			where[i] = t.columns[i] + "::text = " + literal(text)
		}
		rows, _, err = t.readWithRetry(ctx, strings.Join(where, " AND "))
	}
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// tableReader looks up a table as of the snapshot; nil if it is optional and missing.
func (s *Snapshot) tableReader(ctx context.Context, table *Table) (*tableReader, error) {
	if s.reader == nil {
		config, err := pgx.ParseConfig(s.url)
		if err != nil {
			return nil, ErrURL
		}
		config.ConnectTimeout = connectTimeout
		PinSettings(&config.Config, map[string]string{
			"statement_timeout": sliceStatementTimeout, "lock_timeout": sliceLockTimeout, "idle_in_transaction_session_timeout": sliceIdleTimeout,
			// Makes the server read the blocks of a slice instead of the whole table.
			"enable_seqscan": "off",
		})
		if s.reader, err = pgx.ConnectConfig(ctx, config); err != nil {
			return nil, fmt.Errorf("connect to the source: %w", ExplainConnectError(err))
		}
		if err := requestRawText(ctx, s.reader.PgConn()); err != nil {
			return nil, err
		}
	}
	conn := s.reader.PgConn()
	begin := importSnapshot(s.Name)
	if encodingOf(conn).name != sqlASCII {
		begin += "; SET LOCAL client_encoding = 'UTF8'" // for the names in the catalog
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
	catalog, err := ReadCatalog(ctx, s.reader, append([]*Table{table}, table.parents()...))
	if err != nil {
		return nil, err
	}
	t := &tableReader{snapshot: s, encoding: encodingOf(s.reader.PgConn()), relation: catalog.Relation(table), cells: make([]cell, len(table.Columns))}
	if t.relation == nil {
		if table.Optional {
			return nil, nil //nolint:nilnil // a missing table has no rows
		}
		return nil, errors.New("the table does not exist")
	}
	for i, column := range table.Columns {
		if t.relation.Types[i] != 0 {
			t.columns = append(t.columns, pgx.Identifier{column.Name}.Sanitize())
			t.target = append(t.target, i)
		} else if !column.Optional || i < table.KeyColumns {
			return nil, fmt.Errorf("column %s does not exist", column.Name)
		}
	}
	var same bool // read in the same query as the size, because a truncated table has no blocks
	err = s.reader.QueryRow(ctx, `SELECT c.oid::bigint, c.relfilenode::bigint, coalesce(pg_relation_size(c.oid) / current_setting('block_size')::bigint, 0),
			coalesce(pg_relation_filenode(c.oid) = c.relfilenode, false)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`, table.Schema, table.Name).
		Scan(&t.oid, &t.file, &t.blocks, &same)
	if err == nil && !same {
		err = errRewritten
	}
	return t, err
}
