package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// shift is the time for which this relay is a member of those that share the outbox. From its beginning on it serves
// webhooks that are behind and deliveries that are parked, and at some time it may lead.
type shift struct {
	*Relay
	member   *outbox.Member
	dispatch *dispatcher
	// only is the reconciliation that the relay runs for; 0 for one that goes on.
	only int64
}

// shifts works again and again: a shift ends when the outbox fails or another relay takes over what this one has.
func (r *Relay) shifts(ctx context.Context) error {
	switch err := r.store.Migrate(ctx); {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // ctx ended
	case err != nil:
		return err
	}
	pause := newPause()
	for {
		began := time.Now()
		err := r.shift(ctx)
		r.monitor.leads(nil)
		if ctx.Err() != nil {
			if err != nil {
				r.log.Warn("the last deliveries could not be recorded: they will be repeated", "err", err)
			}
			return nil
		}
		if !passing(err) {
			return err
		}
		r.monitor.outboxFailed(err)
		r.log.Warn("the outbox failed, trying again", "err", err)
		if err := pause.wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// shift works until something fails or ctx ends.
func (r *Relay) shift(ctx context.Context) error {
	member, err := r.store.Join(ctx, r.version)
	if err != nil {
		return err
	}
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	s := &shift{Relay: r, member: member, dispatch: newDispatcher(sending, r.deliveryConfig(member))}
	r.monitor.works(s.dispatch)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return member.Beat(groupCtx) })
	group.Go(func() error { return s.dispatch.record(groupCtx) })
	group.Go(func() error { return s.dispatch.retry(groupCtx) })
	group.Go(func() error { return s.dispatch.share(groupCtx) })
	group.Go(func() error { return s.dispatch.watch(groupCtx) })
	group.Go(func() error { return s.lead(groupCtx) })
	err = group.Wait()
	return errors.Join(err, s.drain(ctx, err, stopSending))
}

func (r *Relay) deliveryConfig(member *outbox.Member) deliveryConfig {
	delivery := &r.config.Delivery
	return deliveryConfig{
		member: member, store: r.store, sender: r.sender, schedule: delivery.RetrySchedule(), inFlight: delivery.InFlight, queue: delivery.Queue,
		senders: delivery.Senders, metrics: r.metrics, log: r.log,
		patience: patience{
			restAfter: delivery.RestAfter, rest: delivery.Rest.Duration, restMax: delivery.RestMax.Duration,
			disableAfter: delivery.DisableAfter.Duration, disableSpread: delivery.DisableSpread.Duration,
		},
	}
}

// failTime is how long what is being sent may take to end after a failure, when it cannot be recorded anyway.
const failTime = time.Second

// drain lets what is being sent end, records it, and leaves.
func (s *shift) drain(ctx context.Context, failed error, stopSending func()) error {
	patience := s.config.Delivery.Timeout.Duration
	if failed != nil {
		patience = failTime
	}
	timer := time.AfterFunc(patience, stopSending)
	s.dispatch.close()
	timer.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if failed != nil {
		// Whatever it has leased others may have at once; should the outbox be away, they have it soon.
		ctx, cancel := context.WithTimeout(ctx, failTime)
		defer cancel()
		_ = s.member.Leave(ctx)
		return nil
	}
	if err := s.dispatch.flush(ctx); err != nil {
		return fmt.Errorf("record the last deliveries: %w", err)
	}
	return s.member.Leave(ctx)
}
