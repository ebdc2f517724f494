package delivery

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// fallBehind: from the event after the given one on, the endpoint reads the log.
func (e *endpoint) fallBehind(after int64) {
	e.behind, e.own, e.readFrom = true, true, after
}

// done is the event up to which the endpoint has nothing left to do but parked deliveries.
func (e *endpoint) done(head int64) int64 {
	place := head
	if e.behind {
		place = e.readFrom
	}
	if len(e.queue) > 0 {
		place = min(place, e.queue[0].ID-1)
	}
	for id := range e.sending {
		place = min(place, id-1)
	}
	return place
}

const (
	// handOver is by how many events a webhook must be behind to be served by a relay that does not lead. The leader takes it
	// back when it has caught up: only there it can be live.
	handOver = 500
	// lanePoll is how often the relays look for webhooks that are behind and served by nobody.
	lanePoll = time.Second
	// claimAtOnce bounds the webhooks that are claimed at a time.
	claimAtOnce = 100
)

// share takes this relay's part of the webhooks that are behind, and gives up what is beyond it, until ctx ends.
func (d *Dispatcher) share(ctx context.Context) error {
	return loop.Every(ctx, d.stretch*lanePoll, nil, d.balance)
}

func (d *Dispatcher) balance(ctx context.Context) error {
	lagging, err := d.Member.Lagging(ctx, handOver)
	if err != nil {
		return err
	}
	leads := d.follow(lagging)
	if lagging.Others == 0 {
		return d.unblock(ctx)
	}
	room := min(lagging.Share()-lagging.Mine, claimAtOnce)
	claimed, err := d.Member.Claim(ctx, room, handOver, 1<<62)
	if err != nil {
		return err
	}
	for more := leads; more; {
		nearby, err := d.Member.Claim(ctx, claimAtOnce, 0, handOver)
		if err != nil {
			return err
		}
		claimed = append(claimed, nearby...)
		more = len(nearby) == claimAtOnce
	}
	blocked, err := d.Blocked(ctx, claimed)
	if err != nil {
		return err
	}
	d.serve(claimed, blocked)
	return d.unblock(ctx)
}

// follow notes how far the log has come, lets the endpoints that are behind read on, and gives up those beyond the share.
func (d *Dispatcher) follow(lagging outbox.Lagging) (leads bool) {
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
		if !e.served {
			continue
		}
		if surplus > 0 && e.behind && !e.letGo && !e.resting() && d.head-e.readFrom >= handOver {
			d.clear(e)
			e.letGo = true
			surplus--
		}
		if e.half && len(e.queue) == 0 && e.workers == 0 && e.retries == 0 && !e.reading && !e.probing && (!e.behind || e.readFrom >= d.head) {
			// Nothing shows whether it is back. A delivery may have been parked since the probe was looked for.
			e.half = false
			d.probe(e)
		}
		d.advance(e)
	}
	d.startReads()
	return d.leader != nil
}

// serve takes webhooks over that this relay has leased.
func (d *Dispatcher) serve(webhooks []outbox.Webhook, blocked map[int64]map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		w := &webhooks[i]
		e := d.endpoints[w.ID]
		switch {
		case e == nil:
			e = d.newEndpoint(w)
		case e.served: // leased by this very relay, whose record of it was lost: it knows better
			continue
		default:
			e.enabled = true // or it could not have been leased
			d.set(e, w)
		}
		e.served, e.letGo, e.behind, e.own = true, false, true, true
		e.readFrom, e.stored = *w.Cursor, w.Cursor
		e.window.narrow()
		d.restore(e, w, blocked[w.ID])
		d.Log.Debug("serving a webhook that is behind", "webhook", e.name, "from", e.readFrom, "head", d.head)
		d.advance(e)
	}
}

// lost forgets webhooks that another relay serves by now.
func (d *Dispatcher) lost(ids []int64) {
	if len(ids) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		if e := d.endpoints[id]; e != nil {
			d.drop(e)
			d.Log.Warn("another relay serves the webhook now", "webhook", e.name)
		}
	}
}
