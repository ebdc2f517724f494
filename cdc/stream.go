package cdc

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// silenceLimit is how long the server may send nothing although it was asked to reply. It is long because a server sends
// nothing for a while as it decodes a very large transaction.
const silenceLimit = time.Minute

// stream is one run of a Source. It is the only owner of its connection.
type stream struct {
	source  *Source
	config  *SourceConfig
	conn    *pgconn.PgConn
	decoder *decoder
	out     chan<- Message

	status     standbyStatus
	shutdown   shutdownDetector
	idle       idleState
	handedOver LSN       // everything before it has been handed over
	heardAt    time.Time // when the server last sent something, or the stream last was unable to read
	deadline   time.Time // the connection's read deadline; zero after it has passed
	notice     error     // a notice that ends the stream
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
			return fmt.Errorf("%w: no message for %s", ErrServerSilent, silenceLimit)
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
		now = st.heardAt // which has advanced if the consumer was busy
	}
}

// finishHistoryCheck allows to acknowledge the stored position once the history check has passed.
func (st *stream) finishHistoryCheck() {
	if h := st.decoder.history; h != nil && h.done {
		st.handedOver, st.decoder.history = max(st.handedOver, h.from), nil
	}
}

// receive returns the next message, or nil if there is none before something else has to be done.
func (st *stream) receive(ctx context.Context, now time.Time) (pgproto3.BackendMessage, error) {
	acknowledged := st.source.acknowledged.Load()
	until := st.nextStatus()
	if st.idle.due() && !st.decoder.inTransaction() && !st.decoder.history.pending() {
		until = earlier(until, st.idle.sentAt.Add(minStatusInterval))
	}
	// A deadline that is too early only costs one iteration.
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
	// Without a cancelable context, pgconn does not change the deadline, and the connection stays usable after a timeout.
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
	// pgconn returns a fatal error of the server as an error, and any other one as a message.
	return nil, fmt.Errorf("replication connection lost: %w", explain(err, ErrPublicationMissing))
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
		return fmt.Errorf("%w: the server ended the stream", ErrServerShutdown)
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
			return fmt.Errorf("%w: it is waiting for an acknowledgement", ErrServerShutdown)
		}
	}
	return nil
}

func (st *stream) advance(to LSN) {
	if uint64(to) > st.source.received.Load() {
		st.source.received.Store(uint64(to))
	}
}
