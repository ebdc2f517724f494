package outbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Leader is the relay that ingests. It holds an advisory lock on a separate connection. Its writes also check its epoch, because a
// paused process does not notice that the connection, and with it the lock, is gone.
type Leader struct {
	store  *Store
	member *Member
	lock   *pgx.Conn
	// write is the ingest connection. Only one goroutine uses it, and its statements are prepared once.
	write *pgx.Conn
	epoch int64
	// clockStored is when FollowClock last stored the server's time. No other method uses it.
	clockStored time.Time

	keeping context.CancelFunc // stops keepAlive
	lost    chan error         // receives the error with which the lock connection broke
	ended   chan struct{}      // closed when keepAlive has returned
}

const (
	// lockPoll is how often a standby tries the lock, and the leader pings the connection that holds it.
	lockPoll = 500 * time.Millisecond
	// lockIdle is the silence after which the server ends the leader's session and releases the lock. Another relay takes over within
	// five seconds.
	lockIdle = 4 * time.Second
)

// Lead waits until m becomes the leader. It calls waiting once if another relay leads.
func (m *Member) Lead(ctx context.Context, waiting func()) (*Leader, error) {
	s := m.store
	lock, err := pgx.ConnectConfig(ctx, s.config.ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect to the outbox: %w", cdc.ExplainConnectError(err))
	}
	l := &Leader{store: s, member: m, lock: lock, lost: make(chan error, 1)}
	// The server releases the lock of a process that is frozen or unreachable, even if a proxy keeps the connection open.
	if _, err := lock.Exec(ctx, `SELECT set_config('idle_session_timeout', $1, false)`, strconv.Itoa(int(lockIdle.Milliseconds()))); err != nil {
		l.Close()
		return nil, fmt.Errorf("set the idle timeout of the leader lock's session: %w", err)
	}
	if err := l.await(ctx, waiting); err != nil {
		l.Close()
		return nil, err
	}
	// Keep the session alive from here on: begin may wait long for the transaction of a former leader.
	l.keepAlive(ctx)
	if err := l.begin(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// keepAlive pings the lock connection until Close.
func (l *Leader) keepAlive(ctx context.Context) {
	ctx, l.keeping = context.WithCancel(context.WithoutCancel(ctx))
	l.ended = make(chan struct{})
	go func() {
		defer close(l.ended)
		tick := time.NewTicker(lockPoll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			ping, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := l.lock.Ping(ping)
			cancel()
			if err != nil && ctx.Err() == nil {
				l.lost <- err
				return
			}
		}
	}()
}

// await polls for the lock. Polling, unlike waiting in the server, notices a dead connection.
func (l *Leader) await(ctx context.Context, waiting func()) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for first := true; ; first = false {
		var locked bool
		if err := l.lock.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2)`, lockLeader, l.store.lockKey()).Scan(&locked); err != nil {
			return fmt.Errorf("take the leader lock: %w", err)
		}
		if locked {
			return nil
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// begin starts a new epoch. Once it has committed, writes of a former leader fail.
func (l *Leader) begin(ctx context.Context) error {
	var err error
	if l.write, err = pgx.ConnectConfig(ctx, l.store.config.ConnConfig.Copy()); err != nil {
		return fmt.Errorf("connect to the outbox: %w", cdc.ExplainConnectError(err))
	}
	return pgx.BeginFunc(ctx, l.write, func(tx pgx.Tx) error {
		// This frees the leases of the former leader, which notices at its next heartbeat.
		if _, err := tx.Exec(ctx, `DELETE FROM member USING position WHERE id = leader AND id <> $1`, l.member.id); err != nil {
			return fmt.Errorf("start an epoch: %w", err)
		}
		if err := tx.QueryRow(ctx, `UPDATE position SET epoch = epoch + 1, leader = $1 RETURNING epoch`, l.member.id).Scan(&l.epoch); err != nil {
			return fmt.Errorf("start an epoch: %w", err)
		}
		if _, err := tx.Exec(ctx, `UPDATE watermark SET epoch = $1`, l.epoch); err != nil {
			return fmt.Errorf("start an epoch: %w", err)
		}
		return nil
	})
}

// Epoch is the number of this leadership. It increases with every leader.
func (l *Leader) Epoch() int64 { return l.epoch }

// Watch blocks until the lock connection is lost or ctx ends.
func (l *Leader) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.lost:
		return fmt.Errorf("leader lock: %w", err)
	}
}

// Close gives up leadership. It does not wait long for a dead connection.
func (l *Leader) Close() {
	if l.keeping != nil {
		l.keeping()
		<-l.ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if l.write != nil {
		l.write.Close(ctx)
	}
	l.lock.Close(ctx)
}
