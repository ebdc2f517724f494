package relay

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/monitor"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// membership is the time during which this relay belongs to the group of relays that share the outbox. A member sends heartbeats,
// sends due retries and serves endpoints that catch up; one member at a time leads.
type membership struct {
	*Relay
	member     *outbox.Member
	dispatcher *delivery.Dispatcher
	leader     *outbox.Leader // nil until this relay leads
	// onlyReconciliation is the id of the reconciliation after which the relay exits; 0 if it runs until it is stopped.
	onlyReconciliation int64
}

// serve migrates the outbox and then runs one membership after another, with a backoff between them, until ctx ends or an error is not
// transient. A membership ends when the outbox fails or this relay is fenced off.
func (r *Relay) serve(ctx context.Context) error {
	switch err := r.store.Migrate(ctx); {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // ctx ended
	case err != nil:
		return err
	}
	backoff := loop.NewBackoff()
	for {
		began := time.Now()
		err := r.runMembership(ctx)
		r.monitor.SetLeader(nil)
		if ctx.Err() != nil {
			if err != nil {
				r.log.Warn("stopped with an error; unrecorded deliveries will be repeated", "err", err)
			}
			return nil
		}
		if !outbox.IsTransient(err) {
			return err
		}
		r.monitor.OutboxFailed(err)
		r.log.Warn("outbox failed; retrying", "err", err)
		if err := backoff.Wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// runMembership joins the group, runs heartbeat, delivery and the candidacy for leader until one of them fails or ctx ends, then
// drains and leaves.
func (r *Relay) runMembership(ctx context.Context) error {
	member, err := r.store.Join(ctx, r.version)
	if err != nil {
		return err
	}
	m := &membership{Relay: r, member: member, dispatcher: delivery.New(r.deliveryConfig(member))}
	r.monitor.SetDeliveries(m.dispatcher)
	defer m.resign()
	group, groupCtx := errgroup.WithContext(ctx)
	beat := m.startHeartbeat(context.WithoutCancel(ctx))
	defer beat.stop()
	group.Go(func() error { return beat.wait(groupCtx) })
	group.Go(func() error { return m.dispatcher.Run(groupCtx) })
	group.Go(func() error { return m.lead(groupCtx) })
	failed := group.Wait()
	err = m.drain(ctx, failed)
	if ctx.Err() != nil {
		return errors.Join(failed, err)
	}
	if err != nil {
		r.log.Warn("could not record the last deliveries; they will be repeated", "err", err)
	}
	return failed
}

// resign releases the leader lock if this relay holds it.
func (m *membership) resign() {
	if m.leader != nil {
		m.leader.Close()
	}
}

// heartbeat runs in the background until stop, which comes after the drain: a member without a heartbeat loses its leases.
type heartbeat struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid once ended is closed
}

func (m *membership) startHeartbeat(ctx context.Context) *heartbeat {
	ctx, cancel := context.WithCancel(ctx)
	h := &heartbeat{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.err = m.member.Beat(ctx)
	}()
	return h
}

// wait returns the heartbeat's error when it fails, or nil when ctx ends.
func (h *heartbeat) wait(ctx context.Context) error {
	select {
	case <-h.ended:
		return h.err
	case <-ctx.Done():
		return nil
	}
}

func (h *heartbeat) stop() {
	h.cancel()
	<-h.ended
}

func (r *Relay) deliveryConfig(member *outbox.Member) delivery.Config {
	c := &r.config.Delivery
	rootEvents := map[string]bool{}
	for _, name := range r.rules.RootEvents() {
		rootEvents[name] = true
	}
	return delivery.Config{
		RootEvents: rootEvents,
		Member:     member, Store: r.store, Sender: r.sender, Schedule: c.RetrySchedule(), InFlight: c.InFlight, Queue: c.Queue,
		Senders: c.Senders, Metrics: r.metrics, Log: r.log,
		Clock: &monitor.ClockWatch{Server: "outbox", Log: r.log, Metrics: r.metrics},
		Breaker: delivery.BreakerConfig{
			Failures: c.PauseAfter, Pause: c.Pause.Duration, PauseMax: c.PauseMax.Duration,
			DisableAfter: c.DisableAfter.Duration, DisableSpread: c.DisableSpread.Duration,
		},
	}
}

const (
	// failureDrainTimeout bounds each step of the drain after a failure of the outbox, when outcomes can probably not be recorded.
	failureDrainTimeout = time.Second
	// recordTimeout bounds the recording of outcomes when the relay stops.
	recordTimeout = 20 * time.Second
)

// drain lets requests in flight finish, records their outcomes, and leaves the group. The caller keeps the heartbeat and the leader
// lock until it returns: a relay that took over earlier would repeat what is not recorded yet.
func (m *membership) drain(ctx context.Context, failed error) error {
	sendTimeout, record := failureDrainTimeout, failureDrainTimeout
	if stopping := ctx.Err() != nil; stopping {
		sendTimeout, record = m.config.Delivery.Timeout.Duration, recordTimeout
	}
	m.dispatcher.Stop(sendTimeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), record)
	defer cancel()
	if errors.Is(failed, outbox.ErrFenced) {
		return m.member.Leave(ctx) // the outbox accepts no outcomes of a fenced member
	}
	return errors.Join(m.dispatcher.FlushAll(ctx), m.member.Leave(ctx))
}
