package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simMember is one relay's membership of a simOutbox.
type simMember struct {
	*simOutbox
	id      int64
	crashed atomic.Bool // nothing that it does has an effect any more
}

func (o *simOutbox) join() *simMember {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastID++
	o.members[o.lastID] = true
	return &simMember{simOutbox: o, id: o.lastID}
}

func (o *simOutbox) leave(m *simMember) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.members, m.id)
}

func (m *simMember) Alive() bool { return !m.crashed.Load() }

func (m *simMember) Lagging(_ context.Context, minLag int64) (outbox.Lagging, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := outbox.Lagging{Members: len(m.members), LastEvent: m.last()}
	for _, w := range m.webhooks {
		if w.Cursor == nil || !w.Enabled {
			continue
		}
		if w.Lease != m.id {
			l.Others++
		}
		if *w.Cursor <= m.last()-minLag && w.PausedUntil.Before(m.now()) {
			l.Webhooks++
			if w.Lease == m.id {
				l.Mine++
			}
		}
	}
	return l, m.fenced()
}

func (m *simMember) fenced() error {
	if m.crashed.Load() {
		return fmt.Errorf("simulated crash: %w", outbox.ErrFenced)
	}
	return nil
}

func (m *simMember) Claim(_ context.Context, limit int, minLag, maxLag int64) ([]outbox.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var free []*simWebhook
	for _, w := range m.webhooks {
		if w.Cursor != nil && *w.Cursor <= m.last()-minLag && *w.Cursor > m.last()-maxLag && w.Enabled && !m.members[w.Lease] {
			free = append(free, w)
		}
	}
	slices.SortFunc(free, func(a, b *simWebhook) int { return cmp.Or(cmp.Compare(*a.Cursor, *b.Cursor), cmp.Compare(a.ID, b.ID)) })
	var claimed []outbox.Webhook
	for _, w := range free[:max(0, min(limit, len(free)))] {
		w.Lease = m.id
		claimed = append(claimed, m.copyOf(w))
	}
	return claimed, m.fenced()
}

// serves reports whether the member may speak for a webhook.
func (m *simMember) serves(w *simWebhook, epoch int64) bool {
	return w != nil && (w.Lease == m.id || epoch != 0 && w.Cursor == nil)
}

// claimable reports whether no running relay sends a retry, and none that it is ordered behind is left.
func (m *simMember) claimable(key outbox.DeliveryKey, r *simRetry) bool {
	if m.members[r.lease] || r.due.IsZero() {
		return false
	}
	for other, q := range m.retries {
		if r.key != "" && other.Webhook == key.Webhook && q.key == r.key && other.Event < key.Event && (!q.due.IsZero() || q.key == outbox.StrictKey) {
			return false
		}
	}
	return true
}

func (m *simMember) ClaimDue(_ context.Context, c outbox.Claim) ([]outbox.DueRetry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []outbox.DeliveryKey
	for key, r := range m.retries {
		w := m.webhooks[key.Webhook]
		may := w != nil && w.Enabled && !slices.Contains(c.Except, w.ID) &&
			(w.Lease == m.id || c.Leads && w.Cursor == nil || !w.Exclusive && w.PausedUntil.IsZero())
		if may && !r.due.After(m.now()) && m.claimable(key, r) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b outbox.DeliveryKey) int {
		return cmp.Or(m.retries[a].due.Compare(m.retries[b].due), cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	perWebhook := map[int64]int{}
	var due []outbox.DueRetry
	for _, key := range keys {
		if perWebhook[key.Webhook]++; perWebhook[key.Webhook] <= c.PerWebhook && len(due) < c.Limit {
			due = append(due, m.lease(key))
		}
	}
	return due, m.fenced()
}

func (m *simMember) lease(key outbox.DeliveryKey) outbox.DueRetry {
	r := m.retries[key]
	r.lease = m.id
	return outbox.DueRetry{Event: m.events[key.Event-1], Webhook: key.Webhook, Attempts: r.attempts, Key: r.key}
}

func (m *simMember) ClaimOldest(_ context.Context, webhook int64) (*outbox.DueRetry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var oldest *outbox.DeliveryKey
	for key, r := range m.retries {
		if key.Webhook == webhook && m.claimable(key, r) && (oldest == nil || key.Event < oldest.Event) {
			oldest = &key
		}
	}
	if oldest == nil {
		return nil, m.fenced()
	}
	due := m.lease(*oldest)
	return &due, m.fenced()
}

func (m *simMember) Record(_ context.Context, epoch int64, d *outbox.Delivery) ([]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fenced(); err != nil {
		return nil, err
	}
	if epoch != 0 {
		if epoch != m.epoch {
			return nil, fmt.Errorf("epoch %d: %w", epoch, outbox.ErrFenced)
		}
		if d.Delivered < m.watermark || d.Delivered > m.last() {
			m.fault("the watermark moves from %d to %d of %d", m.watermark, d.Delivered, m.last())
		}
		m.watermark = d.Delivered
	}
	m.recordRetries(epoch, d)
	lost := m.recordWebhooks(epoch, d)
	m.check(fmt.Sprintf("a record of member %d", m.id))
	return lost, nil
}

func (m *simMember) recordRetries(epoch int64, d *outbox.Delivery) {
	for _, key := range d.RetriesDone {
		if r := m.retries[key]; r != nil && r.lease == m.id {
			delete(m.retries, key)
			w := m.webhooks[key.Webhook]
			if w != nil && !m.settled(w, &m.events[key.Event-1]) {
				m.fault("retry of event %d to webhook %d is removed, and was not accepted", key.Event, key.Webhook)
			}
		}
	}
	for _, key := range d.RetriesReleased {
		if r := m.retries[key]; r != nil && r.lease == m.id {
			r.lease = 0
		}
	}
	for i := range d.Retries {
		p := &d.Retries[i]
		key := outbox.DeliveryKey{Event: p.Event, Webhook: p.Webhook}
		due := p.Due
		if !due.IsZero() {
			due = m.now().Add(time.Until(p.Due))
		}
		r := m.retries[key]
		switch {
		case p.Claimed && r != nil && r.lease == m.id:
			r.attempts, r.due, r.lease = p.Attempts, due, 0
		case p.Claimed || !m.serves(m.webhooks[p.Webhook], epoch):
		case r == nil:
			m.retries[key] = &simRetry{attempts: p.Attempts, due: due, key: p.Key}
		default:
			r.attempts, r.due, r.lease = max(r.attempts, p.Attempts), due, 0
		}
	}
}

func (m *simMember) recordWebhooks(epoch int64, d *outbox.Delivery) (lost []int64) {
	for id, p := range d.Cursors {
		w := m.webhooks[id]
		if !m.serves(w, epoch) {
			lost = append(lost, id)
			continue
		}
		w.Cursor, w.Lease = &p.Cursor, m.id
		if p.Live {
			w.Cursor = nil
		}
		if p.Live || p.Released {
			w.Lease = 0
		}
	}
	for id, h := range d.Health {
		if w := m.webhooks[id]; w != nil && w.ResumeCount <= d.ResumeCounts[id] {
			w.Health = m.shifted(h, m.skew)
		}
	}
	for id, stop := range d.Disable {
		if w := m.webhooks[id]; w != nil && w.Enabled && w.Version == stop.Version {
			m.change(w, func(w *outbox.Webhook) { w.Enabled, w.DisabledReason = false, stop.Reason })
		}
	}
	return lost
}
