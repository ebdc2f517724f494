package delivery

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// behavior is how a receiver answers.
type behavior int

const (
	accepts     behavior = iota
	slowly               // after 3 s
	fails                // 503
	failsOften           // two of three
	hangs                // until the time-out
	asksToWait           // 429 with Retry-After
	gone                 // 410
	unreachable          // connection refused
	behaviors
)

const simTimeout = 15 * time.Second

// simSender is a relay's way to the receivers, without a network.
type simSender struct {
	*webhook.Sender // prepares targets
	outbox          *simOutbox
	member          *simMember
	seed            uint64

	mu      sync.Mutex
	targets map[*webhook.Target]int64
}

func (s *simSender) Target(e *webhook.Endpoint) (*webhook.Target, error) {
	t, err := s.Sender.Target(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[t] = e.ID
	return t, err
}

// chance is a number from 0 to 99 that depends on the seed and the attempt alone.
func (s *simSender) chance(webhookID, event int64, attempt int, what string) int {
	h := fnv.New64a()
	for _, n := range []uint64{s.seed, uint64(webhookID), uint64(event), uint64(attempt)} {
		for i := range 8 {
			_, _ = h.Write([]byte{byte(n >> (8 * i))})
		}
	}
	_, _ = h.Write([]byte(what))
	return int(h.Sum64() % 100)
}

func (s *simSender) Send(ctx context.Context, t *webhook.Target, m *webhook.Message) webhook.Outcome {
	s.mu.Lock()
	id := s.targets[t]
	s.mu.Unlock()
	event := eventNumber(m.ID)
	began := time.Now()
	behavior := s.begin(id, event)
	latency, class, status := s.answer(behavior, id, event, m.Attempt)
	timer := time.NewTimer(min(latency, simTimeout))
	defer timer.Stop()
	canceled := false
	select {
	case <-timer.C:
	case <-ctx.Done():
		canceled = true
	}
	o := webhook.Outcome{Class: class, Status: status, Duration: time.Since(began), Err: errors.New("simulated")}
	if class == webhook.ClassHTTP429 {
		o.RetryAfter = time.Duration(1+s.chance(id, event, m.Attempt, "wait")) * time.Minute
	}
	// Of a canceled request, half have reached the receiver.
	reached := !canceled || s.chance(id, event, m.Attempt, "reached") < 50
	s.end(id, event, reached && class == webhook.ClassDelivered)
	if canceled {
		return webhook.Outcome{Class: webhook.ClassCanceled, Duration: time.Since(began), Err: ctx.Err()}
	}
	return o
}

func (s *simSender) answer(b behavior, id, event int64, attempt int) (latency time.Duration, class webhook.Class, status int) {
	latency = time.Duration(1+s.chance(id, event, attempt, "latency")) * time.Millisecond
	switch {
	case b == slowly:
		return 3 * time.Second, webhook.ClassDelivered, 200
	case b == fails, b == failsOften && s.chance(id, event, attempt, "fails") < 66:
		return latency, webhook.ClassHTTP5xx, 503
	case b == hangs:
		return simTimeout, webhook.ClassTimeout, 0
	case b == asksToWait:
		return latency, webhook.ClassHTTP429, 429
	case b == gone:
		return latency, webhook.ClassHTTP410, 410
	case b == unreachable:
		return latency, webhook.ClassConnectRefused, 0
	}
	return latency, webhook.ClassDelivered, 200
}

// begin checks that the request may be sent.
func (s *simSender) begin(id, event int64) behavior {
	o := s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	w, e := o.webhooks[id], &o.events[event-1]
	if w.Tenant != e.Tenant || !slices.Contains(e.Webhooks, id) {
		o.fault("event %d of tenant %s is sent to webhook %d of tenant %s", event, e.Tenant, id, w.Tenant)
	}
	w.inFlight++
	limit := simConfig().InFlight + retriesPerEndpoint
	if w.Exclusive && w.Options != "" && w.Options == simOptions(webhook.OrderingStrict) {
		limit = 1
	}
	if w.inFlight > limit {
		o.fault("webhook %d has %d requests on their way, and may have %d", id, w.inFlight, limit)
	}
	return w.behavior
}

func (s *simSender) end(id, event int64, accepted bool) {
	o := s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.webhooks[id]
	w.inFlight--
	if accepted {
		o.deliver(w, &o.events[event-1])
	}
}

func (s *simSender) Handshake(context.Context, *webhook.Target) webhook.Outcome {
	return webhook.Outcome{Class: webhook.ClassDelivered, Status: 200}
}

func simConfig() Config {
	return Config{
		Schedule: webhook.DefaultSchedule(), InFlight: 16, Queue: 50, Senders: 64,
		Breaker: BreakerConfig{Failures: 10, Pause: time.Minute, PauseMax: time.Hour, DisableAfter: 5 * 24 * time.Hour, DisableSpread: 24 * time.Hour},
		Log:     slog.New(slog.DiscardHandler),
	}
}

func simOptions(ordering webhook.Ordering) string {
	o := webhook.Options{Ordering: ordering}
	return o.JSON()
}

// simRelay is a running relay, without ingest: events are handed to the one that leads.
type simRelay struct {
	dispatcher *Dispatcher
	member     *simMember
	cancel     context.CancelFunc
	ended      chan struct{}
	err        error // of Run, once it has ended
}

func (s *simulation) startRelay() *simRelay {
	c := simConfig()
	m := s.outbox.join()
	c.Member, c.Store, c.Metrics, c.Clock = m, s.outbox, admin.NewMetrics(prometheus.NewRegistry()), ignoredClock{}
	c.Sender = &simSender{Sender: s.sender, outbox: s.outbox, member: m, seed: s.seed, targets: map[*webhook.Target]int64{}}
	ctx, cancel := context.WithCancel(context.Background())
	r := &simRelay{dispatcher: New(c), member: m, cancel: cancel, ended: make(chan struct{})}
	r.dispatcher.stretch = s.stretch
	go func() {
		defer close(r.ended)
		r.err = r.dispatcher.Run(ctx)
	}()
	return r
}

type ignoredClock struct{}

func (ignoredClock) Observe(time.Duration, time.Duration) {}

// lead makes the relay the leader.
func (s *simulation) lead(r *simRelay) error {
	o := s.outbox
	o.mu.Lock()
	o.epoch++
	leader := &simLeader{simOutbox: o, number: o.epoch}
	position := outbox.Position{LastEvent: o.last(), Delivered: o.watermark}
	webhooks := o.load(func(*simWebhook) bool { return true })
	o.mu.Unlock()
	if err := r.dispatcher.FollowClock(context.Background(), leader); err != nil {
		return err
	}
	blocked, err := r.dispatcher.Blocked(context.Background(), webhooks)
	if err != nil {
		return err
	}
	r.dispatcher.Lead(leader, position, webhooks, blocked)
	s.leader = r
	return nil
}

// stop ends a relay as SIGTERM does.
func (s *simulation) stop(r *simRelay) error {
	r.cancel()
	<-r.ended
	r.dispatcher.Stop(simTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := errors.Join(r.err, r.dispatcher.FlushAll(ctx))
	s.outbox.leave(r.member)
	s.forget(r)
	return err
}

// crash ends a relay at once; nothing that it knows is recorded.
func (s *simulation) crash(r *simRelay) {
	r.member.crashed.Store(true)
	r.cancel()
	<-r.ended
	r.dispatcher.Stop(0)
	s.outbox.leave(r.member)
	s.forget(r)
}

func (s *simulation) forget(r *simRelay) {
	s.relays = slices.DeleteFunc(s.relays, func(other *simRelay) bool { return other == r })
	if s.leader == r {
		s.leader = nil
	}
}
