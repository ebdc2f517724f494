package outbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Leader is the one relay that may write. It holds an advisory lock on a connection of its own; what it writes is checked
// against its epoch besides, because a paused process does not notice that its connection is gone.
type Leader struct {
	store  *Store
	member *Member
	lock   *pgx.Conn
	// write is the connection of ingest: one writer, one connection, statements prepared once.
	write *pgx.Conn
	epoch int64
	// clockNoted is when the server's time was last stored; only FollowClock has it.
	clockNoted time.Time

	keeping context.CancelFunc // ends keepAlive
	lost    chan error         // from keepAlive: the lock's connection is gone
	ended   chan struct{}      // keepAlive has ended
}

const (
	// lockPoll is how often a standby asks for the lock, and the leader whether it still has it.
	lockPoll = 500 * time.Millisecond
	// lockIdle is after what silence of the leader the server ends its session, and with it the lock: another relay has
	// taken over within five seconds of its death.
	lockIdle = 4 * time.Second
)

// Lead waits until m can take the leadership; waiting is called once if it has to.
func (m *Member) Lead(ctx context.Context, waiting func()) (*Leader, error) {
	s := m.store
	lock, err := pgx.ConnectConfig(ctx, s.config.ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect to the outbox: %w", cdc.ConnectReason(err))
	}
	l := &Leader{store: s, member: m, lock: lock, lost: make(chan error, 1)}
	// The server itself takes the lock from a process that is frozen, or whose network is gone, while somebody answers for it.
	if _, err := lock.Exec(ctx, `SELECT set_config('idle_session_timeout', $1, false)`, strconv.Itoa(int(lockIdle.Milliseconds()))); err != nil {
		l.Close()
		return nil, fmt.Errorf("limit the leader lock's session: %w", err)
	}
	if err := l.await(ctx, waiting); err != nil {
		l.Close()
		return nil, err
	}
	// From here on the server must hear from us however long the rest takes: it may wait for a former leader's transaction.
	l.keepAlive(ctx)
	if err := l.begin(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// keepAlive pings on the lock's connection until Close, beside whatever the leader does meanwhile.
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

// await asks for the lock until it is there. Asking, instead of waiting in the server, shows that the connection lives.
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

// begin starts a new epoch: from its commit on, a former leader's writes fail.
func (l *Leader) begin(ctx context.Context) error {
	var err error
	if l.write, err = pgx.ConnectConfig(ctx, l.store.config.ConnConfig.Copy()); err != nil {
		return fmt.Errorf("connect to the outbox: %w", cdc.ConnectReason(err))
	}
	return pgx.BeginFunc(ctx, l.write, func(tx pgx.Tx) error {
		// Whatever the former leader has leased is free: it will learn of it from its next beat.
		if _, err := tx.Exec(ctx, `DELETE FROM member USING position WHERE id = leader AND id <> $1`, l.member.id); err != nil {
			return fmt.Errorf("begin an epoch: %w", err)
		}
		if err := tx.QueryRow(ctx, `UPDATE position SET epoch = epoch + 1, leader = $1 RETURNING epoch`, l.member.id).Scan(&l.epoch); err != nil {
			return fmt.Errorf("begin an epoch: %w", err)
		}
		if _, err := tx.Exec(ctx, `UPDATE watermark SET epoch = $1`, l.epoch); err != nil {
			return fmt.Errorf("begin an epoch: %w", err)
		}
		return nil
	})
}

// Epoch is the leader's number; each one's is greater than its predecessor's.
func (l *Leader) Epoch() int64 { return l.epoch }

// Watch blocks until the lock's connection is lost or ctx ends.
func (l *Leader) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.lost:
		return fmt.Errorf("leader lock: %w", err)
	}
}

// Close gives the leadership up. Bounded: a dead peer is not waited for.
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

// State says how far the outbox has come with its source.
type State string

const (
	// StateNew: nothing was read yet.
	StateNew State = "new"
	// StateCopying: a slot was made, the first copy has not ended; it begins again.
	StateCopying State = "copying"
	// StateStreaming: the position is valid.
	StateStreaming State = "streaming"
)

// Position is the outbox's place in the IAM's log, and the newest event.
type Position struct {
	cdc.Position
	State     State
	Mark      cdc.Mark
	LastEvent int64
	Delivered int64
	Updated   time.Time
}

// Position reads the stored position.
func (s *Store) Position(ctx context.Context) (Position, error) {
	var p Position
	var lsns [3]string
	var xid int64
	err := s.pool.QueryRow(ctx, `SELECT state, system_id, timeline, database, slot, lsn::text, last_event, delivered, updated,
		mark_commit::text, mark_xid, mark_time, mark_floor::text FROM position, watermark`).Scan(&p.State, &p.SystemID, &p.Timeline, &p.Database, &p.Slot,
		&lsns[0], &p.LastEvent, &p.Delivered, &p.Updated, &lsns[1], &xid, &p.Mark.Time, &lsns[2])
	if err != nil {
		return p, fmt.Errorf("read the stored position: %w", err)
	}
	p.Mark.XID = uint32(xid)
	for i, into := range []*cdc.LSN{&p.LSN, &p.Mark.Commit, &p.Mark.Floor} {
		if *into, err = cdc.ParseLSN(lsns[i]); err != nil {
			return p, fmt.Errorf("read the stored position: %w", err)
		}
	}
	return p, nil
}

// queueFence ends a batch that does not move the position: it fails if another relay has taken over.
func (l *Leader) queueFence(batch *pgx.Batch) {
	batch.Queue(`SELECT advance_position(epoch, lsn, last_event) FROM (SELECT $1::bigint AS epoch, lsn, last_event FROM position) AS p`, l.epoch)
}

// StartCopy records, before the slot is made, that a first copy is under way: a slot of that name is then known to be ours.
func (l *Leader) StartCopy(ctx context.Context, slot string) error {
	return l.setPosition(ctx, cdc.Position{Slot: slot}, StateCopying)
}

func (l *Leader) setPosition(ctx context.Context, p cdc.Position, state State) error {
	tag, err := l.write.Exec(ctx, `UPDATE position SET state = $2, system_id = $3, timeline = $4, database = $5, slot = $6, lsn = $7::text::pg_lsn,
		updated = now() WHERE epoch = $1`, l.epoch, state, p.SystemID, p.Timeline, p.Database, p.Slot, p.LSN.String())
	if err != nil {
		return fmt.Errorf("store the position: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}

// FollowTimeline records that the position is one of a later timeline, too.
func (l *Leader) FollowTimeline(ctx context.Context, timeline int) error {
	tag, err := l.write.Exec(ctx, `UPDATE position SET timeline = $2 WHERE epoch = $1`, l.epoch, timeline)
	if err != nil {
		return fmt.Errorf("store the timeline: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}
