package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// outstandingLimits limits the transactions that the consumer has not closed, in multiples of the memory limit.
const outstandingLimits = 8

// handOver passes a transaction to the consumer. One without changes of the mapped tables only advances the idle position.
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

// weight returns what a transaction counts until it is closed, in bytes. A spilled one takes little memory, but an open file.
func (st *stream) weight(t *Transaction) int64 {
	if t.Spilled() {
		return int64(st.memoryLimit() / 4)
	}
	return int64(t.Bytes())
}

func (st *stream) memoryLimit() int { return cmp.Or(st.config.MemoryLimit, DefaultMemoryLimit) }

// outputFor returns the channel to the consumer, or nil while the limit of outstanding transactions is exceeded. The consumer
// may always have one.
func (st *stream) outputFor(t *Transaction) chan<- Message {
	handed := st.source.outstanding.Load()
	if handed > t.weight && handed > outstandingLimits*int64(st.memoryLimit()) {
		return nil
	}
	return st.out
}

// shutdownProbeDelay is how long the consumer may be busy before a second session watches for a shutdown of the server.
const shutdownProbeDelay = 500 * time.Millisecond

// waitForConsumer hands over a transaction for which the consumer has no room. Until then, the stream is not read, so the WAL
// stays on the server instead of in memory, but status updates are sent.
func (st *stream) waitForConsumer(ctx context.Context, t *Transaction) error {
	ctx, cancel := context.WithCancel(ctx)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer cancel()
	stopping := make(chan struct{})
	stalled, probe, report := time.NewTimer(st.config.StallLimit), time.NewTimer(shutdownProbeDelay), time.NewTimer(0)
	defer stalled.Stop()
	defer probe.Stop()
	defer report.Stop()
	for {
		if err := st.sendStatus(ctx, time.Now()); err != nil {
			return err
		}
		report.Reset(time.Until(st.nextStatus()))
		select {
		case st.outputFor(t) <- Message{Transaction: t}:
			st.heardAt = time.Now()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-stalled.C:
			return fmt.Errorf("%w (%s); pending changes stay in the slot", ErrStalled, st.config.StallLimit)
		case <-stopping:
			return fmt.Errorf("%w while ingestion is busy", ErrServerShutdown)
		case <-probe.C:
			probes.Go(func() {
				if waitForShutdown(ctx, st.config.URL) {
					close(stopping)
				}
			})
		case <-st.source.wake:
		case <-report.C:
		}
	}
}

// waitForShutdown blocks until the server shuts down, and returns true, or until ctx ends. It waits on an ordinary session,
// because a server that shuts down ends those at once, but waits forever for a walsender whose stream is not read. It returns false
// at once if it cannot connect.
func waitForShutdown(ctx context.Context, url string) bool {
	config, err := connectConfig(url)
	if err != nil {
		return false
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return errors.Is(explain(err, nil), ErrServerShutdown)
	}
	defer closeConn(conn)
	for {
		// Without a query, only notices arrive, and at the end a fatal error, which pgconn returns.
		if _, err := conn.ReceiveMessage(ctx); err != nil {
			return errors.Is(explain(err, nil), ErrServerShutdown)
		}
	}
}
