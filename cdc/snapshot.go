package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// Snapshot reads the tables as of one position of the WAL: everything that committed before is visible, and the slot that was
// created with it streams everything after. It is not safe for concurrent use.
type Snapshot struct {
	// LSN is the slot's consistent point, from which streaming starts.
	LSN LSN
	// Name is the name of the exported snapshot.
	Name string
	// Time is the server's clock when the snapshot was opened, in UTC.
	Time time.Time

	url        string
	holder     *pgconn.PgConn // its open transaction keeps the snapshot
	stop       context.CancelFunc
	keepAlives sync.WaitGroup
	reader     *pgx.Conn // nil before the first read
	fetch      int       // number of rows of the next FETCH
}

// CreateSlot creates a logical slot and opens a snapshot at its consistent point. A temporary slot is dropped as soon as the
// snapshot is open. On PostgreSQL 17 and newer, other slots are failover slots.
//
// The server first waits for all transactions that have written, in any database. If the snapshot cannot be opened, the slot is
// dropped again. The error is ErrSlotExists if the slot exists.
// https://www.postgresql.org/docs/current/protocol-replication.html
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
	// If the connection were only closed, the server would go on waiting for the other transactions, and then create the slot.
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 5 * time.Second}
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn) // the holder has the snapshot by then
	s := &Snapshot{fetch: firstFetch}
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
	return s, nil
}

// createSlotCommand exists because pglogrepl only knows the grammar before PostgreSQL 15, which has no FAILOVER.
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

// A relay that is frozen must not hold up the removal of dead rows: the server ends the session that keeps the snapshot after
// snapshotIdleTimeout without a query, and the relay runs one every snapshotKeepAlive.
const (
	snapshotIdleTimeout = "60s"
	snapshotKeepAlive   = 10 * time.Second
)

// open imports the exported snapshot into a session that only keeps it, without a lock on any table, and exports it again for
// the short transactions that read.
func (s *Snapshot) open(ctx context.Context, url string, slot pglogrepl.CreateReplicationSlotResult) error {
	var err error
	if s.LSN, err = ParseLSN(slot.ConsistentPoint); err != nil {
		return err
	}
	s.url = url
	config, err := connectConfig(url)
	if err != nil {
		return err
	}
	config.RuntimeParams["idle_in_transaction_session_timeout"] = snapshotIdleTimeout
	if s.holder, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return err
	}
	results, err := s.holder.Exec(ctx, importSnapshot(slot.SnapshotName)+"; SELECT pg_export_snapshot(), extract(epoch FROM clock_timestamp()) * 1000000").ReadAll()
	if err != nil {
		return fmt.Errorf("open the exported snapshot: %w", snapshotError(err))
	}
	answer := results[len(results)-1].Rows[0]
	s.Name = string(answer[0])
	micros, err := strconv.ParseFloat(string(answer[1]), 64)
	if err != nil {
		return fmt.Errorf("read the time of the snapshot: %w", err)
	}
	s.Time = time.UnixMicro(int64(micros)).UTC()
	beating, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.keepAlives.Go(func() { s.keepAlive(beating) })
	return nil
}

// keepAlive prevents the idle timeout of the session that keeps the snapshot. If it fails, the next read reports the error.
func (s *Snapshot) keepAlive(ctx context.Context) {
	tick := time.NewTicker(snapshotKeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := s.holder.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
			return
		}
	}
}

// importSnapshot begins a transaction that reads the snapshot, or, without a name, the present.
func importSnapshot(name string) string {
	const begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	if name == "" {
		return begin
	}
	return begin + "; SET TRANSACTION SNAPSHOT " + literal(name)
}

// literal writes a text as an SQL literal; standard_conforming_strings is on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// ReadCurrent returns a Snapshot without a position, whose reads see the rows as they are when they are read. It connects when it is
// first used.
func ReadCurrent(url string) *Snapshot { return &Snapshot{url: url, fetch: firstFetch} }

// Close releases the snapshot. It may be called more than once.
func (s *Snapshot) Close() {
	if s.stop != nil {
		s.stop()
		s.keepAlives.Wait()
		s.stop = nil
	}
	if s.reader != nil {
		closeConn(s.reader.PgConn())
	}
	if s.holder != nil {
		closeConn(s.holder)
	}
}
