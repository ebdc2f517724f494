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

// Snapshot reads the tables as they were at one point of the log: everything committed before it is seen, and the slot
// that was created with it streams everything after it.
type Snapshot struct {
	// LSN is the slot's consistent point. Streaming starts from it.
	LSN LSN
	// Name is the snapshot's, as exported.
	Name string
	// Time is the server's clock when the snapshot was opened, in UTC.
	Time time.Time

	url    string
	holder *pgconn.PgConn // in a transaction that holds the snapshot
	stop   context.CancelFunc
	keepAlives  sync.WaitGroup
	reader *pgx.Conn // nil before the first read
	fetch  int       // how many rows to ask for at a time
}

// CreateSlot creates a logical slot and opens a snapshot of its starting point. A temporary one is gone when the snapshot is
// open. On PostgreSQL 17 and newer a lasting slot is a failover slot.
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

// snapshotIdle is after what silence of the relay the server ends the session that holds the snapshot, and snapshotBeat how often
// the relay says something there: a relay that is frozen holds up neither the removal of dead rows nor anything else for longer.
const (
	snapshotIdleTimeout = "60s"
	snapshotKeepAlive = 10 * time.Second
)

// open takes the exported snapshot over into a session that only holds it, without a lock on any table, and exports it again for
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

// beat keeps the session that holds the snapshot from ending. Where it cannot, the next read fails and says so.
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

func importSnapshot(name string) string {
	return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT " + literal(name)
}

// literal writes a text as SQL; standard_conforming_strings is on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Close ends the snapshot. It may be called again.
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
