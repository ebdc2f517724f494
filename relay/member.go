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

// shift is the time for which this relay is a member of those that share the outbox. From its beginning on it serves
// webhooks that are behind and deliveries that are parked, and at some time it may lead.
type membership struct {
	*Relay
	member   *outbox.Member
	dispatch *delivery.Dispatcher
	leader   *outbox.Leader // nil unless this relay has led
	// only is the reconciliation that the relay runs for; 0 for one that goes on.
	only int64
}

// shifts works again and again: a shift ends when the outbox fails or another relay takes over what this one has.
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

// shift works until something fails or ctx ends.
func (r *Relay) runMembership(ctx context.Context) error {
	member, err := r.store.Join(ctx, r.version)
	if err != nil {
		return err
	}
	s := &membership{Relay: r, member: member, dispatch: delivery.New(r.deliveryConfig(member))}
	r.monitor.SetDeliveries(s.dispatch)
	defer s.resign()
	group, groupCtx := errgroup.WithContext(ctx)
	beating := s.startHeartbeat(context.WithoutCancel(ctx))
	defer beating.stop()
	group.Go(func() error { return beating.wait(groupCtx) })
	group.Go(func() error { return s.dispatch.Run(groupCtx) })
	group.Go(func() error { return s.lead(groupCtx) })
	failed := group.Wait()
	err = s.drain(ctx, failed)
	if ctx.Err() != nil {
		return errors.Join(failed, err)
	}
	if err != nil {
		r.log.Warn("could not record the last deliveries; they will be repeated", "err", err)
	}
	return failed
}

// resign gives the leadership up, if there is one.
func (s *membership) resign() {
	if s.leader != nil {
		s.leader.Close()
	}
}

// beating is the heartbeat, which goes on until the relay has drained.
type heartbeat struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once it has ended
}

func (s *membership) startHeartbeat(ctx context.Context) *heartbeat {
	ctx, cancel := context.WithCancel(ctx)
	b := &heartbeat{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		b.err = s.member.Beat(ctx)
	}()
	return b
}

// wait returns when the heartbeat has failed, or ctx ends.
func (b *heartbeat) wait(ctx context.Context) error {
	select {
	case <-b.ended:
		return b.err
	case <-ctx.Done():
		return nil
	}
}

func (b *heartbeat) stop() {
	b.cancel()
	<-b.ended
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

// failTime bounds the drain after a failure of the outbox, when what is being sent can probably not be recorded.
const failTime = time.Second

// recordTime bounds the recording at the end of a drain.
const recordTime = 20 * time.Second

// drain lets what is being sent end, records it, and leaves the group of relays. The caller keeps the heartbeat and the leader
// lock until it returns: a relay that took over earlier would repeat what is not recorded yet.
func (s *membership) drain(ctx context.Context, failed error) error {
	sendTime, record := failTime, failTime
	if stopping := ctx.Err() != nil; stopping {
		sendTime, record = s.config.Delivery.Timeout.Duration, recordTime
	}
	s.dispatch.Stop(sendTime)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), record)
	defer cancel()
	if errors.Is(failed, outbox.ErrFenced) {
		return s.member.Leave(ctx) // nothing that it records is valid any more
	}
	return errors.Join(s.dispatch.FlushAll(ctx), s.member.Leave(ctx))
}
