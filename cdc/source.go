package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// SourceConfig says what to stream. URL, Slot, Publication and Tables are needed.
type SourceConfig struct {
	URL         string
	Slot        string
	Publication string
	Tables      []*Table
	// Server is whom to read from, as Inspect saw it: a name that leads to several servers may lead to another one by now.
	// The zero value is whoever answers.
	Server Server
	// Catalog resolves domains and says which columns count as absent; nil leaves domains as they are.
	Catalog *Catalog
	// Identities say which relation each table is; nil takes the first one that has its name.
	Identities *Identities
	// Mark is what the consumer has read last before from; the zero value is unknown.
	Mark Mark
	// MemoryLimit is how many bytes of one transaction are kept in memory; 0 is DefaultMemoryLimit.
	MemoryLimit int
	// SpillDir takes the temporary files of larger transactions; empty is the system's directory.
	SpillDir string
	// WALSenderTimeout is set for this session, so that the server lets go of the slot soon after a relay has vanished. 0 is
	// 5 s.
	WALSenderTimeout time.Duration
	// StallLimit is how long the consumer may take nothing; 0 is 5 s.
	StallLimit time.Duration
	Logger     *slog.Logger // nil is no log
}

// Message is one of two things.
type Message struct {
	Transaction *Transaction
	// Idle, if Transaction is nil: every transaction committed before it has been handed over.
	Idle LSN
	// Mark, if Transaction is nil, is the last transaction of the mapped tables before Idle, if it had no change to hand over; nil for
	// none.
	Mark *Mark
}

// Source streams committed transactions from a slot. One goroutine calls Stream; the other methods may be called from any.
type Source struct {
	config SourceConfig

	outstanding      atomic.Int64  // the weight of the transactions that the consumer has not closed
	durable     atomic.Uint64 // what Acknowledge said
	received    atomic.Uint64
	lastMessage atomic.Int64 // Unix time in nanoseconds

	// To wake the goroutine that owns the connection: set acknowledged or pinged first, then its read deadline, then
	// wake. One that is about to read sees the flags; one that reads is interrupted; one that waits for its consumer
	// listens on wake.
	acknowledged, pinged atomic.Bool
	conn                 atomic.Pointer[pgconn.PgConn]
	wake                 chan struct{}
}

// NewSource returns a Source that does nothing yet.
func NewSource(config SourceConfig) *Source {
	config.WALSenderTimeout = cmp.Or(config.WALSenderTimeout, 5*time.Second)
	config.StallLimit = cmp.Or(config.StallLimit, 5*time.Second)
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	return &Source{config: config, wake: make(chan struct{}, 1)}
}

// Acknowledge says that everything committed before the position is durable: the End of a Transaction, or an Idle. Only
// that is ever told to the server. A position before an earlier one changes nothing.
func (s *Source) Acknowledge(durable LSN) {
	for {
		old := s.durable.Load()
		if uint64(durable) <= old {
			return
		}
		if s.durable.CompareAndSwap(old, uint64(durable)) {
			break
		}
	}
	if !s.acknowledged.Swap(true) {
		s.interrupt()
	}
}

// Ping asks the server how far its log has been read, so that an Idle follows, also if it has been told before. It does
// nothing while Stream does not run.
func (s *Source) Ping() {
	if !s.pinged.Swap(true) {
		s.interrupt()
	}
}

func (s *Source) interrupt() {
	if conn := s.conn.Load(); conn != nil {
		// It fails only for a closed connection, which nobody reads.
		_ = conn.Conn().SetReadDeadline(time.Unix(1, 0))
	}
	s.wakeUp()
}

func (s *Source) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// release notes that the consumer has closed a transaction.
func (s *Source) release(weight int64) {
	s.outstanding.Add(-weight)
	s.wakeUp()
}

// Received is the latest position of the log that the server has sent or skipped.
func (s *Source) Received() LSN { return LSN(s.received.Load()) }

// LastMessage is when the server was last heard; zero if never.
func (s *Source) LastMessage() time.Time {
	if at := s.lastMessage.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Stream hands over the transactions whose commit record is not before from, in commit order, until ctx ends or something
// fails; see Retryable. from is the End of the last durable transaction, or the consistent point of a new slot. The
// consumer owns the transactions that are in out when Stream returns.
//
// While out is full, or the consumer has not closed transactions of eight times MemoryLimit, Stream reads nothing, but keeps the
// connection alive with the acknowledged position for up to StallLimit.
func (s *Source) Stream(ctx context.Context, from LSN, out chan<- Message) error {
	if from == 0 {
		return fmt.Errorf("stream slot %s: there is no position to start from", s.config.Slot)
	}
	if err := s.stream(ctx, from, out); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("stream slot %s: %w", s.config.Slot, err)
	}
	return nil
}

func (s *Source) stream(ctx context.Context, from LSN, out chan<- Message) (err error) {
	st := &stream{
		source: s, config: &s.config, out: out,
		status:    standbyStatus{interval: min(10*time.Second, s.config.WALSenderTimeout/3), sent: from, sentAt: time.Now()},
		handedOver:  from,
		idle:    idleState{sent: from},
		heardAt: time.Now(),
	}
	st.decoder = newDecoder(s.config.Tables, s.config.Catalog, from, func() *Spool {
		return NewSpool(s.config.SpillDir, s.config.MemoryLimit)
	})
	st.decoder.matcher = newRelationMatcher(s.config.Tables, s.config.Catalog, s.config.Identities, s.config.Logger)
	defer func() { err = errors.Join(err, st.decoder.close()) }()
	if st.conn, err = s.start(ctx, from, st); err != nil {
		return err
	}
	defer closeConn(st.conn)
	// An acknowledgement from before must not reach another slot.
	s.durable.Store(uint64(from))
	s.pinged.Store(st.decoder.history.pending()) // so that an idle server says how far its WAL goes
	s.conn.Store(st.conn)
	defer s.conn.Store(nil)
	defer context.AfterFunc(ctx, s.interrupt)()
	return st.run(ctx)
}

// start connects and asks for the stream. A notice that means that transactions are missing is put into st.notice.
func (s *Source) start(ctx context.Context, from LSN, st *stream) (*pgconn.PgConn, error) {
	if err := CheckSlotName(s.config.Slot); err != nil {
		return nil, err
	}
	config, err := replicationConfig(s.config.URL)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["wal_sender_timeout"] = fmt.Sprintf("%dms", s.config.WALSenderTimeout.Milliseconds())
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" && strings.Contains(n.Message, "skipped loading publication") {
			st.notice = fmt.Errorf("%w: %s; changes are missing", ErrPublicationMissing, n.Message)
			return
		}
		s.config.Logger.WarnContext(ctx, "notice from the source's server", "code", n.Code, "message", n.Message)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explain(err, nil)
	}
	if err := s.checkServer(ctx, conn); err != nil {
		closeConn(conn)
		return nil, err
	}
	begin, err := s.startPosition(ctx, conn, from, st)
	if err == nil {
		err = requestRawText(ctx, conn)
	}
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	st.decoder.encoding = encodingOf(conn)
	publications, ok := st.decoder.encoding.fromUTF8(publicationNames(s.config.Publication))
	if !ok {
		closeConn(conn)
		return nil, fmt.Errorf("the database's encoding, %s, does not have the characters of the name %s: give the publication another name", st.decoder.encoding.name, s.config.Publication)
	}
	err = pglogrepl.StartReplication(ctx, conn, `"`+s.config.Slot+`"`, pglogrepl.LSN(begin), pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", "publication_names " + string(publications)},
	})
	if err != nil {
		closeConn(conn)
		return nil, explain(err, ErrSlotMissing)
	}
	return conn, nil
}

// recall decides what of the WAL that was read before is read once more, to see that it is the same.
func (s *Source) startPosition(ctx context.Context, conn *pgconn.PgConn, from LSN, st *stream) (LSN, error) {
	results, err := conn.Exec(ctx, `SELECT confirmed_flush_lsn, active FROM pg_catalog.pg_replication_slots WHERE slot_name = '`+s.config.Slot+`'`).ReadAll()
	if err != nil {
		return 0, explain(err, nil)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return from, nil // it is missing, and the server will say so
	}
	row := results[0].Rows[0]
	if string(row[1]) == "t" { // what it has confirmed may change at any moment
		return 0, fmt.Errorf("%w: slot %s is active; another relay may run, and this one takes over when that ends", ErrSlotActive, s.config.Slot)
	}
	if row[0] == nil {
		return from, nil
	}
	confirmed, err := ParseLSN(string(row[0]))
	if err != nil {
		return 0, err
	}
	st.decoder.history = newHistoryCheck(s.config.Mark, confirmed, from)
	begin := st.decoder.history.startAt(from)
	st.handedOver, st.status.sent = begin, begin
	return begin, nil
}

// recognise makes sure that the server is the one whose log the position is of.
func (s *Source) checkServer(ctx context.Context, conn *pgconn.PgConn) error {
	if s.config.Server.SystemID == "" {
		return nil
	}
	found, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return explain(err, nil)
	}
	if found.SystemID != s.config.Server.SystemID || int(found.Timeline) != s.config.Server.Timeline {
		return fmt.Errorf("%w: system %s on timeline %d instead of %s on %d", ErrServerChanged, found.SystemID, found.Timeline,
			s.config.Server.SystemID, s.config.Server.Timeline)
	}
	return nil
}

// publicationNames writes the plugin's option: a list of quoted identifiers within a quoted string.
func publicationNames(name string) string {
	identifier := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	return "'" + strings.ReplaceAll(identifier, "'", "''") + "'"
}
