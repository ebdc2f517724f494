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

// Member is one running relay among those that share an outbox. What it has leased, webhooks that are behind and parked
// deliveries, is its own as long as its row exists. The row goes when the relay leaves, or when another relay has seen no heartbeat
// of it for memberGone. That relay measures the time itself: by the server's clock, one step of it would make all relays declare
// each other dead.
type Member struct {
	store *Store
	id    int64
	heard atomic.Int64 // since start, in nanoseconds: when the last beat began that the store has confirmed
	start time.Time    // what heard counts from: a clock that goes on while the process is paused
}

const (
	// memberBeat is how often a member says that it lives, memberGone after what silence others take its leases, and
	// memberMute after what silence it takes itself for gone and sends nothing any more: a paused process must not go on with
	// what another relay may have taken over.
	memberBeat = 2 * time.Second
	memberGone = 10 * time.Second
	memberMute = 8 * time.Second
)

// Join enters the relay; version is for those who look.
func (s *Store) Join(ctx context.Context, version string) (*Member, error) {
	if _, _, err := s.SyncClock(ctx); err != nil {
		return nil, err
	}
	m := &Member{store: s, start: time.Now()}
	began := time.Since(m.start)
	if err := s.pool.QueryRow(ctx, `INSERT INTO member (version) VALUES ($1) RETURNING id`, version).Scan(&m.id); err != nil {
		return nil, fmt.Errorf("join the relays of the outbox: %w", cdc.ConnectReason(fenced(err)))
	}
	m.heard.Store(int64(began))
	return m, nil
}

// ID tells members apart. It is never used again.
func (m *Member) ID() int64 { return m.id }

// Alive reports whether the others still take this relay for alive. It asks nobody.
func (m *Member) Alive() bool { return time.Since(m.start)-time.Duration(m.heard.Load()) < memberMute }

// Beat sends the heartbeat at each interval, and removes members whose heartbeat has stopped, until ctx ends or this member was
// itself removed, which is ErrFenced. It has a connection of its own: however busy the pool is, the heartbeat never waits for it.
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

// heartbeat is the member's connection for its heartbeats, opened when it is first needed and again after it broke.
type heartbeat struct {
	member *Member
	conn   *pgx.Conn
	others map[int64]pulse
}

// pulse is the last heartbeat of another member, and since when, as time since the own start, there has been no newer one.
type pulse struct {
	seen  time.Time
	since time.Duration
}

// send sends one heartbeat. A connection that broke is replaced as long as the others do not take this member for gone.
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
			return fmt.Errorf("connect to the outbox for heartbeats: %w", cdc.ConnectReason(err))
		}
		h.conn = conn
	}
	began := time.Since(m.start)
	tag, err := h.conn.Exec(ctx, `UPDATE member SET seen = clock_timestamp() WHERE id = $1`, m.id)
	if err != nil {
		return fmt.Errorf("send a heartbeat to the outbox: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: no heartbeat of this relay arrived for %s", ErrFenced, memberGone)
	}
	m.heard.Store(int64(began))
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
	others := map[int64]pulse{}
	var id int64
	var seen time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &seen}, func() error {
		p, known := h.others[id]
		if !known || !p.seen.Equal(seen) {
			p = pulse{seen: seen, since: now}
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
		// A member that updates its row at the same time is waited for, and then found alive.
		if _, err := h.conn.Exec(ctx, `DELETE FROM member WHERE id = $1 AND seen = $2`, id, p.seen); err != nil {
			return err
		}
	}
	return nil
}

// close ends the connection, without waiting long for a peer that may be gone.
func (h *heartbeat) close(ctx context.Context) {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	h.conn.Close(ctx)
	h.conn = nil
}

// Leave gives up everything that the member has leased.
func (m *Member) Leave(ctx context.Context) error {
	if _, err := m.store.pool.Exec(ctx, `DELETE FROM member WHERE id = $1`, m.id); err != nil {
		return fmt.Errorf("leave the relays of the outbox: %w", err)
	}
	return nil
}

// Lagging is how the webhooks that are behind are spread over the members.
type Lagging struct {
	// Members is how many relays live.
	Members int
	// Webhooks is how many webhooks are at least minLag events behind and not resting; Mine of them are this member's.
	Webhooks, Mine int
	// Others is how many that read the log by themselves this member does not serve, however far behind they are.
	Others int
	// LastEvent is the newest event of the log.
	LastEvent int64
}

// Share is how many of them one member should serve.
func (l Lagging) Share() int { return (l.Webhooks + max(l.Members, 1) - 1) / max(l.Members, 1) }

// Lagging counts.
func (m *Member) Lagging(ctx context.Context, minLag int64) (Lagging, error) {
	var l Lagging
	err := m.store.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM member), count(w.id), count(w.id) FILTER (WHERE w.lease = $1), p.last_event,
			(SELECT count(*) FROM webhook WHERE cursor IS NOT NULL AND enabled AND lease IS DISTINCT FROM $1)
		FROM position p LEFT JOIN webhook w ON w.cursor <= p.last_event - $2 AND w.enabled AND (w.paused_until IS NULL OR w.paused_until < now())
		GROUP BY p.last_event`, m.id, minLag).Scan(&l.Members, &l.Webhooks, &l.Mine, &l.LastEvent, &l.Others)
	if err != nil {
		return l, fmt.Errorf("count the webhooks that are behind: %w", err)
	}
	return l, nil
}

// Claim leases up to limit webhooks that read the log by themselves and that no living relay serves, those that are furthest
// behind first: with at least minLag and less than maxLag events to look at.
func (m *Member) Claim(ctx context.Context, limit int, minLag, maxLag int64) ([]Webhook, error) {
	if limit <= 0 {
		return nil, nil
	}
	rows, err := m.store.pool.Query(ctx, `WITH free AS (
			SELECT w.id FROM webhook w CROSS JOIN position p
			WHERE w.cursor <= p.last_event - $3 AND w.cursor > p.last_event - $4 AND w.enabled
				AND (w.lease IS NULL OR NOT EXISTS (SELECT FROM member m WHERE m.id = w.lease))
			ORDER BY w.cursor LIMIT $2 FOR UPDATE OF w SKIP LOCKED
		) UPDATE webhook w SET lease = $1 FROM free WHERE w.id = free.id RETURNING `+webhookColumns, m.id, limit, minLag, maxLag)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks that are behind: %w", err)
	}
	webhooks, err := pgx.CollectRows(rows, m.store.scanWebhook)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks that are behind: %w", err)
	}
	return webhooks, nil
}
