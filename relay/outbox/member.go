package outbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Member is one living relay among those that share an outbox. What it has leased, webhooks that are behind and parked
// deliveries, is its own as long as its row exists; the row goes when the relay leaves, or when it has not been heard of for
// memberGone, by whoever notices first.
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

// Beat says again and again that the relay lives, and clears away those that do not, until ctx ends or it was itself cleared
// away, which is ErrFenced.
func (m *Member) Beat(ctx context.Context) error {
	tick := time.NewTicker(memberBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := m.beat(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

func (m *Member) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, memberMute)
	defer cancel()
	began := time.Since(m.start)
	tag, err := m.store.pool.Exec(ctx, `UPDATE member SET seen = clock_timestamp() WHERE id = $1`, m.id)
	if err != nil {
		return fmt.Errorf("tell the other relays that this one lives: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: it was silent for too long", ErrFenced)
	}
	m.heard.Store(int64(began))
	// Who updates a row at the same time is waited for, and then found alive.
	if _, err := m.store.pool.Exec(ctx, `DELETE FROM member WHERE seen < clock_timestamp() - $1::interval`, memberGone); err != nil {
		return fmt.Errorf("clear away relays that are gone: %w", err)
	}
	return nil
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
		FROM position p LEFT JOIN webhook w ON w.cursor <= p.last_event - $2 AND w.enabled AND (w.rest_until IS NULL OR w.rest_until < now())
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
