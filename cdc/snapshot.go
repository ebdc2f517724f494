package cdc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// Snapshot reads the tables as they were at one point of the log: everything committed before it is seen, and the slot
// that was created with it streams everything after it.
type Snapshot struct {
	// LSN is the slot's consistent point. Streaming starts from it.
	LSN LSN
	// Name is the snapshot's, as exported.
	Name string
	// Time is the server's clock when the snapshot was opened, in UTC.
	Time time.Time

	slot   *pgconn.PgConn // of a temporary slot, which ends with its connection
	reader *pgx.Conn      // in a transaction of the snapshot
}

// CreateSlot creates a logical slot and opens a snapshot of its starting point. A temporary one exists until the Snapshot
// is closed and serves only for that. On PostgreSQL 17 and newer a lasting slot is a failover slot.
//
// The server first waits for all transactions that are writing at this moment, in any database. If the slot was made but
// its snapshot could not be opened, the slot is dropped again.
func CreateSlot(ctx context.Context, url, name string, temporary bool) (*Snapshot, error) {
	s, err := createSlot(ctx, url, name, temporary)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("create slot %s: %w", name, explain(err, nil))
	}
	return s, nil
}

func createSlot(ctx context.Context, url, name string, temporary bool) (_ *Snapshot, err error) {
	if err := CheckSlotName(name); err != nil {
		return nil, err
	}
	config, err := replicationConfig(url)
	if err != nil {
		return nil, err
	}
	// A plainly closed connection would leave the server waiting for the other transactions, and then with a slot.
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 5 * time.Second}
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{slot: conn}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	result, err := pglogrepl.ParseCreateReplicationSlot(conn.Exec(ctx, createSlotCommand(name, temporary, majorVersion(conn))))
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, url, result); err != nil {
		if temporary {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		drop := pglogrepl.DropReplicationSlot(ctx, conn, `"`+name+`"`, pglogrepl.DropReplicationSlotOptions{})
		return nil, errors.Join(err, drop)
	}
	if !temporary {
		// The transaction has the snapshot now, which the exporting connection no longer needs to hold.
		closeConn(conn)
		s.slot = nil
	}
	return s, nil
}

// createSlotCommand is written here because pglogrepl knows only the grammar of before PostgreSQL 15, which has no
// failover.
// https://www.postgresql.org/docs/current/protocol-replication.html
func createSlotCommand(name string, temporary bool, major int) string {
	switch {
	case temporary:
		return fmt.Sprintf(`CREATE_REPLICATION_SLOT "%s" TEMPORARY LOGICAL %s EXPORT_SNAPSHOT`, name, outputPlugin)
	case major >= 17:
		return fmt.Sprintf(`CREATE_REPLICATION_SLOT "%s" LOGICAL %s (SNAPSHOT 'export', FAILOVER true)`, name, outputPlugin)
	}
	return fmt.Sprintf(`CREATE_REPLICATION_SLOT "%s" LOGICAL %s EXPORT_SNAPSHOT`, name, outputPlugin)
}

func (s *Snapshot) open(ctx context.Context, url string, slot pglogrepl.CreateReplicationSlotResult) error {
	var err error
	if s.LSN, err = ParseLSN(slot.ConsistentPoint); err != nil {
		return err
	}
	s.Name = slot.SnapshotName
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return ErrURL
	}
	Pin(&config.Config, map[string]string{"idle_in_transaction_session_timeout": "0"})
	if s.reader, err = pgx.ConnectConfig(ctx, config); err != nil {
		return err
	}
	_, err = s.reader.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '"+strings.ReplaceAll(s.Name, "'", "''")+"'", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("open the exported snapshot: %w", err)
	}
	if err := s.reader.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&s.Time); err != nil {
		return fmt.Errorf("ask for the time of the snapshot: %w", err)
	}
	s.Time = s.Time.UTC()
	return nil
}

// Copy calls each for every row of the table, in no order, holding one row at a time. The row may be kept. A table that is
// optional and missing has none.
func (s *Snapshot) Copy(ctx context.Context, table *Table, each func(Row) error) error {
	if err := s.copy(ctx, table, nil, each); err != nil {
		return fmt.Errorf("copy table %s.%s: %w", table.Schema, table.Name, err)
	}
	return nil
}

// Row reads the row whose key columns have the given texts; nil if there is none, or if a key is hashed and so cannot be
// looked for.
func (s *Snapshot) Row(ctx context.Context, table *Table, key []string) (row Row, err error) {
	if slices.ContainsFunc(table.Columns[:table.KeyColumns], func(c Column) bool { return c.Hash }) {
		return nil, nil
	}
	if err := s.copy(ctx, table, key, func(r Row) error { row = r; return nil }); err != nil {
		return nil, fmt.Errorf("read a row of table %s.%s: %w", table.Schema, table.Name, err)
	}
	return row, nil
}

// copy reads the rows of a table, or the one with a key.
func (s *Snapshot) copy(ctx context.Context, table *Table, key []string, each func(Row) error) error {
	catalog, err := Describe(ctx, s.reader, []*Table{table})
	if err != nil {
		return err
	}
	relation := catalog.Relation(table.Name)
	if relation == nil {
		if table.Optional {
			return nil
		}
		return errors.New("it does not exist")
	}
	w := &copyWriter{relation: relation, each: each, cells: make([]cell, len(table.Columns))}
	var columns []string
	for i, column := range table.Columns {
		if relation.Types[i] != 0 {
			columns = append(columns, pgx.Identifier{column.Name}.Sanitize())
			w.target = append(w.target, i)
		} else if !column.Optional || i < table.KeyColumns {
			return fmt.Errorf("column %s does not exist", column.Name)
		}
	}
	var where strings.Builder
	for i, text := range key {
		literal, err := s.reader.PgConn().EscapeString(text)
		if err != nil {
			return err
		}
		where.WriteString(fmt.Sprintf("%s %s = '%s'", []string{" WHERE", " AND"}[min(i, 1)], columns[i], literal))
	}
	query := fmt.Sprintf("COPY (SELECT %s FROM ONLY %s%s) TO STDOUT", strings.Join(columns, ", "), quote(table), where.String())
	if _, err := s.reader.PgConn().CopyTo(ctx, w, query); err != nil {
		return err
	}
	if len(w.line) > 0 {
		return errTruncated
	}
	return nil
}

// Close ends the snapshot, and a temporary slot with it. It may be called again.
func (s *Snapshot) Close() {
	if s.reader != nil {
		closeConn(s.reader.PgConn())
	}
	if s.slot != nil {
		closeConn(s.slot)
	}
}

// copyWriter takes the text format of COPY and makes rows of its lines.
// https://www.postgresql.org/docs/current/sql-copy.html
type copyWriter struct {
	relation *Relation
	target   []int // for each field of a line, its place in Table.Columns
	each     func(Row) error
	line     []byte // the beginning of a line whose end has not come
	cells    []cell
	texts    []byte // unescaped values
}

func (w *copyWriter) Write(p []byte) (int, error) {
	rest := p
	for len(rest) > 0 {
		// A newline within a value is escaped.
		line, after, complete := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if !complete || len(w.line) > 0 {
			w.line = append(w.line, line...)
			line = w.line
		}
		if !complete {
			break
		}
		if err := w.row(line); err != nil {
			return 0, err
		}
		w.line = w.line[:0]
	}
	return len(p), nil
}

func (w *copyWriter) row(line []byte) error {
	clear(w.cells)
	w.texts = w.texts[:0]
	// Unescaping never lengthens, so the texts do not move while the cells point into them.
	if cap(w.texts) < len(line) {
		w.texts = make([]byte, 0, 2*len(line))
	}
	for i, target := range w.target {
		field, rest, more := bytes.Cut(line, []byte{'\t'})
		if more != (i < len(w.target)-1) {
			return fmt.Errorf("a row does not have %d fields", len(w.target))
		}
		line = rest
		if string(field) == `\N` {
			w.cells[target].kind = Null
			continue
		}
		start := len(w.texts)
		w.texts = appendUnescaped(w.texts, field)
		w.cells[target] = cell{kind: Text, text: w.texts[start:]}
	}
	row, err := w.relation.row(w.cells, len(w.texts))
	if err != nil {
		return err
	}
	return w.each(row)
}

var copyEscapes = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

func appendUnescaped(dst, field []byte) []byte {
	for {
		plain, rest, escaped := bytes.Cut(field, []byte{'\\'})
		dst = append(dst, plain...)
		if !escaped || len(rest) == 0 {
			return dst
		}
		c := rest[0]
		if meant, ok := copyEscapes[c]; ok {
			c = meant
		}
		dst, field = append(dst, c), rest[1:]
	}
}
