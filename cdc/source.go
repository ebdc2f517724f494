package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// SourceConfig configures a Source. URL, Slot, Publication and Tables are required.
type SourceConfig struct {
	URL         string
	Slot        string
	Publication string
	Tables      []*Table
	// Server is the expected server, as InspectServer returned it: the URL may lead to another server by now. The zero value
	// accepts any server.
	Server Server
	// Catalog resolves domains and says which columns count as absent; nil resolves no domains.
	Catalog *Catalog
	// Identities say which relation each table is; nil takes the first relation with the table's name.
	Identities *Identities
	// Mark identifies the last transaction that the consumer has read; the zero value is unknown.
	Mark HistoryMark
	// MemoryLimit is how many bytes of one transaction are kept in memory; 0 is DefaultMemoryLimit.
	MemoryLimit int
	// SpillDir is the directory for the temporary files of larger transactions; empty is the system's directory.
	SpillDir string
	// WALSenderTimeout is the session's wal_sender_timeout. It makes the server release the slot soon after a relay has
	// disappeared. 0 is 5 s.
	WALSenderTimeout time.Duration
	// StallLimit is how long the consumer may accept nothing before the stream ends with ErrStalled; 0 is 5 s.
	StallLimit time.Duration
	Logger     *slog.Logger // nil discards the log
}

// Message is either a transaction or, if Transaction is nil, an idle position.
type Message struct {
	Transaction *Transaction
	// Idle: every transaction that committed before it has been handed over.
	Idle LSN
	// Mark identifies the last transaction before Idle that changed mapped tables, if it had no change to hand over; nil if
	// there is none.
	Mark *HistoryMark
}

// Source streams committed transactions from a slot. Only one goroutine may call Stream; the other methods are safe for
// concurrent use.
type Source struct {
	config SourceConfig

	outstanding atomic.Int64  // weight of the transactions that the consumer has not closed
	durable     atomic.Uint64 // the acknowledged position
	received    atomic.Uint64
	lastMessage atomic.Int64 // Unix time in nanoseconds

	// To wake the goroutine that owns the connection: set acknowledged or pinged, then the connection's read deadline, then
	// send to wake. A goroutine about to read sees the flag, one that reads is interrupted, and one that waits for the consumer
	// receives from wake.
	acknowledged, pinged atomic.Bool
	conn                 atomic.Pointer[pgconn.PgConn]
	wake                 chan struct{}
}

// NewSource returns a Source. It does not connect before Stream.
func NewSource(config SourceConfig) *Source {
	config.WALSenderTimeout = cmp.Or(config.WALSenderTimeout, 5*time.Second)
	config.StallLimit = cmp.Or(config.StallLimit, 5*time.Second)
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	return &Source{config: config, wake: make(chan struct{}, 1)}
}

// Acknowledge reports that everything that committed before the position is durable: the End of a Transaction, or an Idle. Only
// acknowledged positions are ever confirmed to the server. A position before an earlier one has no effect.
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

// Ping asks the server for its current position, so that an Idle follows even if its position is not new. It has no effect
// while Stream is not running.
func (s *Source) Ping() {
	if !s.pinged.Swap(true) {
		s.interrupt()
	}
}

func (s *Source) interrupt() {
	if conn := s.conn.Load(); conn != nil {
		// It only fails for a closed connection.
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

// Received returns the latest position of the WAL that the server has sent or skipped.
func (s *Source) Received() LSN { return LSN(s.received.Load()) }

// LastMessage returns when the server last sent a message; the zero time if never.
func (s *Source) LastMessage() time.Time {
	if at := s.lastMessage.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Stream sends to out, in commit order, the transactions whose commit record is not before from, until ctx ends or an error
// occurs; see IsTransient. from is the End of the last durable transaction, or the consistent point of a new slot. When Stream
// returns, the consumer owns the transactions in out.
//
// While out is full, or the consumer has not closed transactions of eight times MemoryLimit, Stream reads nothing, but keeps
// the connection alive with the acknowledged position for up to StallLimit.
func (s *Source) Stream(ctx context.Context, from LSN, out chan<- Message) error {
	if from == 0 {
		return fmt.Errorf("stream slot %s: no start position given", s.config.Slot)
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
		status:     standbyStatus{interval: min(10*time.Second, s.config.WALSenderTimeout/3), sent: from, sentAt: time.Now()},
		handedOver: from,
		idle:       idleState{sent: from},
		heardAt:    time.Now(),
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
	// A position acknowledged in an earlier run must not be confirmed to another slot.
	s.durable.Store(uint64(from))
	s.pinged.Store(st.decoder.history.pending()) // an idle server then sends the end of its WAL
	s.conn.Store(st.conn)
	defer s.conn.Store(nil)
	defer context.AfterFunc(ctx, s.interrupt)()
	return st.run(ctx)
}
