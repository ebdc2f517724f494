package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// silenceLimit is how long the server may say nothing although it is asked. It is long because a server that decodes a very
// large transaction has nothing to say for a while.
const silenceLimit = time.Minute

// stream is one run of a Source: the only owner of its connection.
type stream struct {
	source  *Source
	config  *SourceConfig
	conn    *pgconn.PgConn
	decoder *decoder
	out     chan<- Message

	status     standbyStatus
	shutdown shutdownDetector
	idle     idleState
	handedOver   LSN       // everything before it has been handed over
	heardAt  time.Time // when the server was last heard, or could not be because nobody read
	deadline    time.Time // the connection's read deadline; zero after it has passed
	notice   error     // a notice that ends the stream
}

// idle is the news that nothing is pending.
type idleState struct {
	position  LSN // the newest position before which nothing is pending
	sent   LSN
	sentAt time.Time
	// pinged: the reply to a Ping is to come; asked: it has come, and is told even if it is no news.
	pingPending, forced bool
}

func (st *stream) run(ctx context.Context) error {
	now := time.Now()
	for {
		if err := st.sendStatus(ctx, now); err != nil {
			return err
		}
		st.finishHistoryCheck()
		st.sendIdle(now)
		if now.Sub(st.heardAt) > silenceLimit {
			return fmt.Errorf("%w: nothing came for %s", ErrServerSilent, silenceLimit)
		}
		message, err := st.receive(ctx, now)
		if err != nil {
			return err
		}
		now = time.Now()
		if message == nil {
			continue
		}
		st.heardAt = now
		st.source.lastMessage.Store(now.UnixNano())
		if err := st.handle(ctx, message); err != nil {
			return err
		}
		now = st.heardAt // later than before, if the consumer was busy
	}
}

// settle lets the stored position be acknowledged once the server's history was seen to have it.
func (st *stream) finishHistoryCheck() {
	if h := st.decoder.history; h != nil && h.done {
		st.handedOver, st.decoder.history = max(st.handedOver, h.from), nil
	}
}

// receive returns the next message, or nil if there was none until something else is to be done.
func (st *stream) receive(ctx context.Context, now time.Time) (pgproto3.BackendMessage, error) {
	acknowledged := st.source.acknowledged.Load()
	until := st.nextStatus()
	if st.idle.due() && !st.decoder.inTransaction() && !st.decoder.history.pending() {
		until = earlier(until, st.idle.sentAt.Add(minStatusInterval))
	}
	// A deadline that comes too early only costs a round.
	if st.deadline.IsZero() || until.Before(st.deadline) || st.deadline.Before(now) {
		if err := st.conn.Conn().SetReadDeadline(until); err != nil {
			return nil, fmt.Errorf("read the stream: %w", err)
		}
		st.deadline = until
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if st.source.pinged.Load() || st.source.acknowledged.Load() != acknowledged {
			return nil, nil
		}
	}
	// Without a context, pgconn leaves the deadline alone, and a timeout leaves the connection usable.
	message, err := st.conn.ReceiveMessage(context.Background())
	if err == nil {
		return message, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if pgconn.Timeout(err) {
		st.deadline = time.Time{}
		return nil, nil
	}
	// A fatal error of the server comes this way, another one as a message.
	return nil, fmt.Errorf("the replication connection ended: %w", explain(err, ErrPublicationMissing))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (st *stream) handle(ctx context.Context, message pgproto3.BackendMessage) error {
	switch m := message.(type) {
	case *pgproto3.CopyData:
		return st.copyData(ctx, m.Data)
	case *pgproto3.ErrorResponse:
		return explain(pgconn.ErrorResponseToPgError(m), ErrPublicationMissing)
	case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
		return fmt.Errorf("%w: it ended the stream", ErrServerShutdown)
	case *pgproto3.NoticeResponse:
		return st.notice
	case *pgproto3.ParameterStatus:
		return nil
	}
	return fmt.Errorf("unexpected message %T in the stream", message)
}

func (st *stream) copyData(ctx context.Context, data []byte) error {
	if len(data) == 0 {
		return &DecodeError{Err: errTruncated}
	}
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		keepalive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return &DecodeError{Err: err}
		}
		return st.keepalive(keepalive)
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return &DecodeError{Err: err}
		}
		st.advance(LSN(x.WALStart))
		t, err := st.decoder.decode(LSN(x.WALStart), x.WALData)
		if err != nil || t == nil {
			return err
		}
		return st.handOver(ctx, t)
	}
	return &DecodeError{Err: fmt.Errorf("unknown message %q in the stream", data[0])}
}

func (st *stream) keepalive(k pglogrepl.PrimaryKeepaliveMessage) error {
	end := LSN(k.ServerWALEnd)
	st.advance(end)
	if !st.decoder.inTransaction() {
		if err := st.decoder.history.reached(end); err != nil {
			return err
		}
		st.idle.position = max(st.idle.position, end)
		st.idle.forced = st.idle.forced || st.idle.pingPending
		st.idle.pingPending = false
	}
	if k.ReplyRequested {
		st.status.replyOwed = true
		if st.shutdown.replyRequested(k.ServerWALEnd, st.heardAt) {
			return fmt.Errorf("%w: it waits for what is not durable yet", ErrServerShutdown)
		}
	}
	return nil
}

func (st *stream) advance(to LSN) {
	if uint64(to) > st.source.received.Load() {
		st.source.received.Store(uint64(to))
	}
}

// hand gives a transaction to the consumer. One without changes of the mapped tables is only a position.
func (st *stream) handOver(ctx context.Context, t *Transaction) error {
	st.advance(t.End)
	if t.Len() == 0 {
		st.idle.position = max(st.idle.position, t.End)
		return t.Close()
	}
	end := t.End
	t.weight = st.weight(t)
	st.source.outstanding.Add(t.weight)
	t.closed = st.source.release
	select {
	case st.outputFor(t) <- Message{Transaction: t}:
	default:
		if err := st.waitForConsumer(ctx, t); err != nil {
			return errors.Join(err, t.Close())
		}
	}
	st.handedOver = max(st.handedOver, end)
	st.idle.sent = max(st.idle.sent, end)
	return nil
}

// handedLimits is how many transactions of the largest size that stays in memory the consumer may have at a time.
const outstandingLimits = 8

// weigh says what a transaction takes as long as it is not closed. A spilled one takes little memory, but an open file.
func (st *stream) weight(t *Transaction) int64 {
	if t.Spilled() {
		return int64(st.memoryLimit() / 4)
	}
	return int64(t.Bytes())
}

func (st *stream) memoryLimit() int { return cmp.Or(st.config.MemoryLimit, DefaultMemoryLimit) }

// outFor is the channel to the consumer, or nil while it may not have one more transaction. It may always have one.
func (st *stream) outputFor(t *Transaction) chan<- Message {
	handed := st.source.outstanding.Load()
	if handed > t.weight && handed > outstandingLimits*int64(st.memoryLimit()) {
		return nil
	}
	return st.out
}

// due reports whether there is something to tell the consumer.
func (i *idleState) due() bool { return i.position > i.sent || i.forced && i.position > 0 }

// tellIdle tells the consumer that nothing is pending, if that is news and the consumer has room for it.
func (st *stream) sendIdle(now time.Time) {
	i := &st.idle
	if !i.due() || st.decoder.inTransaction() || st.decoder.history.pending() || (!i.forced && now.Sub(i.sentAt) < minStatusInterval) {
		return
	}
	position := max(i.position, i.sent)
	i.sentAt = now
	select {
	case st.out <- Message{Idle: position, Mark: st.decoder.mark}:
		i.sent, i.forced = position, false
		st.handedOver = max(st.handedOver, position)
	default:
	}
}
