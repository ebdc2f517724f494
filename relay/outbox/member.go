package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Member is a running relay, one of those that share an outbox. Its leases, of webhooks that catch up and of retries, are valid while its
// row exists. The row is deleted when the relay leaves, or when another relay has seen no heartbeat of it for memberGone. Each relay
// measures that by its own monotonic clock: if the server's clock decided, setting it would make all relays declare each other dead.
type Member struct {
	store *Store
	id    int64
	beat  atomic.Int64 // nanoseconds from start until the last confirmed heartbeat was sent
	start time.Time    // with a monotonic reading, which advances while the process is paused
}

const (
	// memberBeat is the interval of heartbeats. Without one for memberGone, others take over a member's leases. It stops sending
	// itself after memberMute, so that a process that was paused does not use leases that others may have taken over.
	memberBeat = 2 * time.Second
	memberGone = 10 * time.Second
	memberMute = 8 * time.Second
)

// Join registers the relay as a member. The version is informational.
func (s *Store) Join(ctx context.Context, version string) (*Member, error) {
	if _, _, err := s.SyncClock(ctx); err != nil {
		return nil, err
	}
	m := &Member{store: s, start: time.Now()}
	began := time.Since(m.start)
	if err := s.pool.QueryRow(ctx, `INSERT INTO member (version) VALUES ($1) RETURNING id`, version).Scan(&m.id); err != nil {
		return nil, fmt.Errorf("register this relay in the outbox: %w", cdc.ExplainConnectError(fenced(err)))
	}
	m.beat.Store(int64(began))
	return m, nil
}

// ID identifies the member. It is never reused.
func (m *Member) ID() int64 { return m.id }

// Alive reports whether the member's leases are still valid. It does not query the database.
func (m *Member) Alive() bool { return time.Since(m.start)-time.Duration(m.beat.Load()) < memberMute }

// Beat sends heartbeats and removes members whose heartbeats have stopped. It returns nil when ctx ends, and ErrFenced if this member was
// removed. It uses a separate connection, so that heartbeats do not wait for a busy pool.
func (m *Member) Beat(ctx context.Context) error {
	h := &heartbeat{member: m}
	defer h.close(ctx)
	tick := time.NewTicker(memberBeat)
	defer tick.Stop()
	for {
		if err := h.send(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// heartbeat is the connection for heartbeats. It is opened on first use and again after an error.
type heartbeat struct {
	member *Member
	conn   *pgx.Conn
	others map[int64]peer
}

// peer is the last heartbeat seen of another member.
type peer struct {
	seen  time.Time
	since time.Duration // when it was first seen, counted from the own start
}

// send sends one heartbeat. It reconnects once if the connection is broken.
func (h *heartbeat) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, memberMute)
	defer cancel()
	for first := true; ; first = false {
		err := h.try(ctx)
		if err == nil || errors.Is(err, ErrFenced) || ctx.Err() != nil || !first {
			return err
		}
		h.close(ctx)
	}
}

func (h *heartbeat) try(ctx context.Context) error {
	m := h.member
	if h.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, m.store.config.ConnConfig.Copy())
		if err != nil {
			return fmt.Errorf("connect to the outbox for heartbeats: %w", cdc.ExplainConnectError(err))
		}
		h.conn = conn
	}
	began := time.Since(m.start)
	tag, err := h.conn.Exec(ctx, `UPDATE member SET seen = clock_timestamp() WHERE id = $1`, m.id)
	if err != nil {
		return fmt.Errorf("send a heartbeat to the outbox: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: it received no heartbeat of this relay for %s", ErrFenced, memberGone)
	}
	m.beat.Store(int64(began))
	if err := h.removeDead(ctx); err != nil {
		return fmt.Errorf("remove members without a heartbeat: %w", err)
	}
	return nil
}

// removeDead removes the members that have sent no heartbeat for memberGone.
func (h *heartbeat) removeDead(ctx context.Context) error {
	now := time.Since(h.member.start)
	rows, err := h.conn.Query(ctx, `SELECT id, seen FROM member WHERE id <> $1`, h.member.id)
	if err != nil {
		return err
	}
	others := map[int64]peer{}
	var id int64
	var seen time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &seen}, func() error {
		p, known := h.others[id]
		if !known || !p.seen.Equal(seen) {
			p = peer{seen: seen, since: now}
		}
		others[id] = p
		return nil
	}); err != nil {
		return err
	}
	h.others = others
	for id, p := range others {
		if now-p.since < memberGone {
			continue
		}
		// If the member sends a heartbeat at the same time, the row no longer matches.
		if _, err := h.conn.Exec(ctx, `DELETE FROM member WHERE id = $1 AND seen = $2`, id, p.seen); err != nil {
			return err
		}
	}
	return nil
}

// close closes the connection. It does not wait long for a dead one.
func (h *heartbeat) close(ctx context.Context) {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	h.conn.Close(ctx)
	h.conn = nil
}

// Leave removes the member and releases its leases.
func (m *Member) Leave(ctx context.Context) error {
	if _, err := m.store.pool.Exec(ctx, `DELETE FROM member WHERE id = $1`, m.id); err != nil {
		return fmt.Errorf("remove this relay from the outbox: %w", err)
	}
	return nil
}
