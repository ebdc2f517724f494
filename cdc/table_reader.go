package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A table is read in slices, each in a short transaction that imports the snapshot. An ALTER TABLE of the application waits for
// the lock of a slice and the application's statements wait for the ALTER TABLE, so the lock is held only while the server
// sends at most sliceBytes. The consumer works between slices. A row that is visible to the snapshot keeps its ctid as long as
// the table is not rewritten, which every slice verifies.
const (
	// sliceBlocks and sliceBytes limit what a slice reads of the table, in blocks, and what it returns, in bytes.
	sliceBlocks = 1024
	sliceBytes  = 2 << 20
	// fetchBytes is about how much is requested at a time. It fits into the connection's buffers, so the server can send all of
	// it even to a frozen relay, and then ends the idle transaction.
	fetchBytes                         = 64 << 10
	firstFetch, mostFetch              = 8, 1000
	sliceLockTimeout, sliceIdleTimeout = "2s", "5s"
	sliceStatementTimeout              = "60s"
	sliceRetryDelay                    = 500 * time.Millisecond
	sliceAttempts                      = 120
	firstRow                           = "(0,0)"
	cursorName, cursorTail             = "iam_relay_slice", " FROM iam_relay_slice"
)

// errRewritten: to an older snapshot, a table that was rewritten or truncated since looks empty.
// https://www.postgresql.org/docs/current/mvcc-caveats.html
var errRewritten = fmt.Errorf("%w: the table was rewritten, truncated or replaced", ErrSnapshotGone)

// tableReader reads one table as of the snapshot.
type tableReader struct {
	snapshot *Snapshot
	relation *Relation
	encoding *encoding
	columns  []string // quoted
	target   []int    // for each of columns, its index in Table.Columns
	cells    []cell

	oid, file, blocks int64
}

// readWithRetry reads a slice, and retries while other sessions have the table locked.
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

// readSlice reads one slice in its own transaction. last is the ctid of its last row, or empty if there are no more rows.
func (t *tableReader) readSlice(ctx context.Context, where string) (rows []Row, last string, err error) {
	conn, size := t.snapshot.reader.PgConn(), 0
	// These functions read the current catalog, which is compared with that of the snapshot. The SELECT looks up the name again.
	same := fmt.Sprintf("SELECT pg_relation_filenode(%d) = %d AND to_regclass(%s)::oid = %d", t.oid, t.file, literal(quoteTable(t.relation.Table)), t.oid)
	sql := fmt.Sprintf("%s; DECLARE %s NO SCROLL CURSOR FOR SELECT ctid, %s FROM ONLY %s WHERE %s; %s; ", importSnapshot(t.snapshot.Name), cursorName,
		strings.Join(t.columns, ", "), quoteTable(t.relation.Table), where, same)
	encoded, ok := t.encoding.fromUTF8(sql)
	if !ok { // the database's encoding cannot represent the key, so there is no such row
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

// fetch is the result of one round trip.
type fetch struct {
	*tableReader
	room     int // bytes left for rows
	rows     []Row
	size     int
	count    int    // received rows, including those left for the next slice
	overflow bool   // rows were left for the next slice
	last     string // ctid of the last row in rows
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
	if len(values) == 1 { // the result of the check, not a row of the cursor
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

// snapshotError wraps ErrSnapshotGone around the errors that a new snapshot may avoid.
func snapshotError(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch pgErr.Code {
	case codeInvalidParameter, codeUndefinedObject: // the session that held the snapshot has ended
		return fmt.Errorf("%w: %w", ErrSnapshotGone, err)
	case codeUndefinedTable, codeUndefinedColumn:
		return fmt.Errorf("%w: the table was altered: %w", ErrSnapshotGone, err)
	case codeLockNotAvailable:
		return fmt.Errorf("another session has it locked; end that session or wait for it: %w", err)
	case "25P03", "25P04", "57014", "40001", codeDeadlock:
		return fmt.Errorf("%w: %w", ErrSnapshotGone, err)
	}
	return err
}
