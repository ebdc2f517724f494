package delivery

import (
	"context"
	"math"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// minLeaseLag is how many events an endpoint must lag to be leased by a relay that does not lead. The leader claims the others: only there can
	// they become live.
	minLeaseLag = 500
	anyLag      = math.MaxInt64 / 2
	// leasePoll is how often the relays look for endpoints to lease.
	leasePoll = time.Second
	// dropAfter is how long a relay that does not lead remembers a webhook after its last retry.
	dropAfter = 10 * time.Minute
	// maxClaims bounds the endpoints that are leased at a time.
	maxClaims = 100
)

// balanceLeases leases this relay's share of the endpoints that catch up, and releases what exceeds it, until ctx ends.
func (d *Dispatcher) balanceLeases(ctx context.Context) error {
	return loop.Every(ctx, d.stretched(leasePoll), nil, d.balance)
}

func (d *Dispatcher) balance(ctx context.Context) error {
	lagging, err := d.Member.Lagging(ctx, minLeaseLag)
	if err != nil {
		return err
	}
	leads := d.releaseSurplus(lagging)
	if lagging.Others > 0 {
		if err := d.claim(ctx, lagging, leads); err != nil {
			return err
		}
	}
	return d.refreshBlocked(ctx)
}

// claim leases endpoints that no running relay delivers to: this relay's share of those that lag, and, at the leader, all others.
func (d *Dispatcher) claim(ctx context.Context, lagging outbox.Lagging, leads bool) error {
	claimed, err := d.Member.Claim(ctx, min(lagging.Share()-lagging.Mine, maxClaims), minLeaseLag, anyLag)
	if err != nil {
		return err
	}
	for more := leads; more; {
		nearby, err := d.Member.Claim(ctx, maxClaims, 0, minLeaseLag)
		if err != nil {
			return err
		}
		claimed = append(claimed, nearby...)
		more = len(nearby) == maxClaims
	}
	blocked, err := d.Blocked(ctx, claimed)
	if err != nil {
		return err
	}
	d.takeOver(claimed, blocked)
	return nil
}

// releaseSurplus releases endpoints beyond this relay's share, and lets the others read on: the head may have moved.
func (d *Dispatcher) releaseSurplus(lagging outbox.Lagging) (leads bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leader == nil {
		d.head = max(d.head, lagging.LastEvent)
	}
	surplus := 0
	if lagging.Members > 1 {
		surplus = lagging.Mine - lagging.Share()
	}
	for _, e := range d.endpoints {
		if !e.owned {
			continue
		}
		if surplus > 0 && d.isSurplus(e) {
			e.overShare()
			surplus--
		}
		d.probeAgain(e)
		d.advance(e)
	}
	d.startReads()
	if d.leader == nil {
		d.dropUnused(time.Now())
	}
	return d.leader != nil
}

// dropUnused drops endpoints that this relay no longer has anything to do with; a retry loads one again. The leader
// knows all webhooks, and forgets those that it deletes. d.mu is held.
func (d *Dispatcher) dropUnused(now time.Time) {
	for id, e := range d.endpoints {
		if !e.owned && e.attempts == 0 && e.retries == 0 && (e.removedAfter != nil || now.Sub(e.usedAt) > dropAfter) {
			e.stopTimer()
			delete(d.endpoints, id)
		}
	}
}

// isSurplus reports whether another relay may claim the endpoint. One that was sent events beyond its cursor cannot be released (see
// mayRelease), and as a releasing one it would read and send nothing that moves the cursor past them.
func (d *Dispatcher) isSurplus(e *endpoint) bool {
	return e.may().release && !e.releasing && e.queue.lastAhead() == 0 && e.cursor.catchingUp && d.head-e.cursor.readFrom >= minLeaseLag
}

// takeOver starts delivering to the webhooks that this relay has leased.
func (d *Dispatcher) takeOver(webhooks []outbox.Webhook, blocked map[int64]map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		w := &webhooks[i]
		e := d.endpoints[w.ID]
		switch {
		case e == nil:
			e = d.newEndpoint(w)
		case e.owned: // by this relay, whose lease was lost in the outbox: it knows more
			continue
		default:
			e.switchedOn() // a disabled webhook is not leased
			d.configure(e, w)
		}
		e.claimed(w.Cursor)
		d.restore(e, w, blocked[w.ID])
		d.Log.Debug("leased a webhook that catches up", "webhook", e.name, "from", e.cursor.readFrom, "head", d.head)
		d.advance(e)
	}
}

// leasesLost forgets endpoints to which another relay delivers now.
func (d *Dispatcher) leasesLost(webhooks []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range webhooks {
		if e := d.endpoints[id]; e != nil {
			d.disown(e)
			d.Log.Warn("another relay delivers to the webhook now; some of its events may be sent twice", "webhook", e.name)
		}
	}
}
