package cdc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// lookoutDelay is how long the consumer may be busy before the server is watched by other means than the stream.
const shutdownProbeDelay = 500 * time.Millisecond

// wait hands over a transaction for which the consumer has no room. Meanwhile the stream is not read, so that the log stays on
// the server instead of filling the relay's memory, but the server goes on hearing that the relay lives.
func (st *stream) waitForConsumer(ctx context.Context, t *Transaction) error {
	ctx, cancel := context.WithCancel(ctx)
	var lookouts sync.WaitGroup
	defer lookouts.Wait()
	defer cancel()
	stopping := make(chan struct{})
	stalled, lookout, report := time.NewTimer(st.config.StallLimit), time.NewTimer(shutdownProbeDelay), time.NewTimer(0)
	defer stalled.Stop()
	defer lookout.Stop()
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
			return fmt.Errorf("%w (%s); the slot keeps what is pending", ErrStalled, st.config.StallLimit)
		case <-stopping:
			return fmt.Errorf("%w while the consumer is busy", ErrServerShutdown)
		case <-lookout.C:
			lookouts.Go(func() {
				if waitForShutdown(ctx, st.config.URL) {
					close(stopping)
				}
			})
		case <-st.source.wake:
		case <-report.C:
		}
	}
}

// serverStops blocks until the server shuts down or ctx ends. It waits on an ordinary session, which a server that shuts
// down ends first of all: of a walsender whose stream nobody reads, it would only wait for the end, for ever. It reports
// false at once where no such session is to be had.
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
		// Nothing is asked, so nothing comes but notices and the end: a fatal error, which pgconn returns as such.
		if _, err := conn.ReceiveMessage(ctx); err != nil {
			return errors.Is(explain(err, nil), ErrServerShutdown)
		}
	}
}
