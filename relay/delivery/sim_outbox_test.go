package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// simOutbox is an outbox in memory, with the rules of the SQL: what a member may record, claim and lease. It checks at each write that
// nothing is lost by it.
type simOutbox struct {
	mu        sync.Mutex
	events    []outbox.Event // event n has index n-1
	webhooks  map[int64]*simWebhook
	retries   map[outbox.DeliveryKey]*simRetry
	members   map[int64]bool // running
	lastID    int64          // of members
	epoch     int64
	watermark int64
	version   int64         // of webhooks
	skew      time.Duration // by which the server's clock is ahead
	set       time.Duration // by which it was set since a leader looked
	polled    map[*outbox.WebhookChanges]int64
	accepted  map[outbox.DeliveryKey]int
	refused   map[outbox.DeliveryKey]bool // events of another tenant
	faults    []string
}

type simWebhook struct {
	outbox.Webhook
	checked  int64 // up to which it is known that nothing was lost
	behavior behavior
	inFlight int
}

type simRetry struct {
	attempts int
	due      time.Time // by the server's clock; zero if dead
	key      string
	lease    int64
}

func newSimOutbox() *simOutbox {
	return &simOutbox{
		webhooks: map[int64]*simWebhook{}, retries: map[outbox.DeliveryKey]*simRetry{}, members: map[int64]bool{}, version: 1,
		polled: map[*outbox.WebhookChanges]int64{}, accepted: map[outbox.DeliveryKey]int{}, refused: map[outbox.DeliveryKey]bool{},
	}
}

// fault notes a broken invariant. The caller holds the mutex.
func (o *simOutbox) fault(format string, args ...any) {
	if len(o.faults) < 20 {
		o.faults = append(o.faults, fmt.Sprintf(format, args...))
	}
}

func (o *simOutbox) now() time.Time { return time.Now().Add(o.skew) }

func (o *simOutbox) last() int64 { return int64(len(o.events)) }

// position is the event up to which a webhook is done, apart from its retries.
func (o *simOutbox) position(w *simWebhook) int64 {
	if w.Cursor != nil {
		return *w.Cursor
	}
	return o.watermark
}

// owed reports whether an event up to a webhook's position must have been accepted, or be a retry.
func (o *simOutbox) settled(w *simWebhook, event *outbox.Event) bool {
	key := outbox.DeliveryKey{Event: event.ID, Webhook: w.ID}
	return !slices.Contains(event.Webhooks, w.ID) || o.accepted[key] > 0 || o.retries[key] != nil || o.refused[key] || w.RemovedAfter != nil && !w.Enabled
}

// check looks for events that were lost: the webhook's position is beyond them, and they are neither accepted nor retries.
func (o *simOutbox) check(after string) {
	for _, w := range o.webhooks {
		for ; w.checked < o.position(w); w.checked++ {
			if !o.settled(w, &o.events[w.checked]) {
				o.fault("after %s: event %d of webhook %d is lost: the position is %d", after, w.checked+1, w.ID, o.position(w))
			}
		}
	}
}

func (o *simOutbox) copyOf(w *simWebhook) outbox.Webhook {
	c := w.Webhook
	if w.Cursor != nil {
		cursor := *w.Cursor
		c.Cursor = &cursor
	}
	return c
}

// change applies a change of definition, which other relays find by its version.
func (o *simOutbox) change(w *simWebhook, f func(*outbox.Webhook)) {
	f(&w.Webhook)
	o.version++
	w.Version = o.version
}

func (o *simOutbox) ReadEvents(_ context.Context, r outbox.Read) ([]outbox.Event, int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var events []outbox.Event
	for id := r.After + 1; id <= min(r.Through, o.last()); id++ {
		e := o.events[id-1]
		if !slices.Contains(e.Webhooks, r.Webhook) {
			continue
		}
		if slices.Contains(r.WithoutBody, e.ID) {
			e.Body = nil
		}
		if events = append(events, e); len(events) == r.Limit {
			return events, e.ID, nil
		}
	}
	return events, r.Through, nil
}

func (o *simOutbox) Blocked(_ context.Context, webhooks []int64) (map[int64]map[string]int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	blocked := map[int64]map[string]int{}
	for key, r := range o.retries {
		if r.key == "" || !slices.Contains(webhooks, key.Webhook) || r.due.IsZero() && r.key != outbox.StrictKey {
			continue
		}
		if blocked[key.Webhook] == nil {
			blocked[key.Webhook] = map[string]int{}
		}
		blocked[key.Webhook][r.key]++
	}
	return blocked, nil
}

func (o *simOutbox) LoadWebhooksByID(_ context.Context, ids []int64) ([]outbox.Webhook, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.load(func(w *simWebhook) bool { return slices.Contains(ids, w.ID) }), nil
}

func (o *simOutbox) load(wanted func(*simWebhook) bool) []outbox.Webhook {
	var all []outbox.Webhook
	for _, w := range o.webhooks {
		if wanted(w) {
			all = append(all, o.copyOf(w))
		}
	}
	slices.SortFunc(all, func(a, b outbox.Webhook) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (o *simOutbox) ChangedWebhooks(_ context.Context, c *outbox.WebhookChanges) ([]outbox.Webhook, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	since := o.polled[c]
	o.polled[c] = o.version
	return o.load(func(w *simWebhook) bool { return w.Version > since }), nil
}

func (o *simOutbox) SyncClock(context.Context) (ahead, took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.skew, 0, nil
}

func (o *simOutbox) ServerTime(local time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if local.IsZero() {
		return local
	}
	return local.Add(o.skew)
}

func (o *simOutbox) LocalHealth(h outbox.Health) outbox.Health {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shifted(h, -o.skew)
}

func (o *simOutbox) shifted(h outbox.Health, by time.Duration) outbox.Health {
	for _, t := range []*time.Time{&h.PausedUntil, &h.FailingSince, &h.FailedAt} {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	return h
}

// setClock sets the server's clock.
func (o *simOutbox) setClock(by time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.skew += by
	o.set += by
}

// simLeader is a leadership.
type simLeader struct {
	*simOutbox
	number int64
}

func (l *simLeader) Epoch() int64 { return l.number }

// FollowClock moves due times back with a clock that was set back, as the leader does.
func (l *simLeader) FollowClock(context.Context) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set := l.set
	l.set = 0
	if set >= 0 {
		return set, nil
	}
	for _, r := range l.retries {
		if !r.due.IsZero() {
			r.due = r.due.Add(set)
		}
	}
	for _, w := range l.webhooks {
		w.Health = l.shifted(w.Health, set)
	}
	return set, nil
}

// deliver is what a receiver has accepted.
func (o *simOutbox) deliver(w *simWebhook, event *outbox.Event) {
	key := outbox.DeliveryKey{Event: event.ID, Webhook: w.ID}
	o.accepted[key]++
	if o.accepted[key] > 1 {
		return
	}
	options, err := webhook.ParseOptions(w.Options)
	if err != nil {
		o.fault("options of webhook %d: %v", w.ID, err)
	}
	if options.Ordering == "" {
		return
	}
	// Everything earlier that it is ordered with must have been accepted, or given up where only a resource's order is kept.
	for id := event.ID - 1; id > 0; id-- {
		earlier := &o.events[id-1]
		before := outbox.DeliveryKey{Event: id, Webhook: w.ID}
		if !slices.Contains(earlier.Webhooks, w.ID) || options.Ordering == webhook.OrderingResource && earlier.Resource != event.Resource {
			continue
		}
		if r := o.retries[before]; o.accepted[before] == 0 && !o.refused[before] && (r == nil || !r.due.IsZero() || options.Ordering == webhook.OrderingStrict) {
			o.fault("webhook %d (%s) accepted event %d before event %d", w.ID, options.Ordering, event.ID, id)
		}
		if o.accepted[before] > 0 {
			return // and so was everything before
		}
	}
}

func eventNumber(id string) int64 {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
