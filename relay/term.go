package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// term is the time for which this relay leads.
type term struct {
	*Relay
	leader   *outbox.Leader
	dispatch *dispatcher
}

const (
	// drainTime is how long what is being sent may take to end at shutdown; after a failure, when it cannot be recorded
	// anyway, failTime.
	failTime = time.Second
	// housekeeping is how often removed webhooks are forgotten and old partitions dropped.
	housekeeping = time.Minute
)

// term waits for the leadership and holds it until something fails or ctx ends.
func (r *Relay) term(ctx context.Context) (err error) {
	leader, err := r.store.Lead(ctx, func() { r.log.Info("another relay leads, standing by"); r.monitor.standsBy() })
	if err != nil {
		return err
	}
	defer leader.Close()
	t := &term{Relay: r, leader: leader}
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	if err := t.open(ctx, sending); err != nil {
		return err
	}
	r.log.Info("leading", "epoch", leader.Epoch())
	r.monitor.leads(leader, t.dispatch)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return leader.Watch(groupCtx) })
	group.Go(func() error { return t.dispatch.record(groupCtx) })
	group.Go(func() error { return t.dispatch.retry(groupCtx) })
	group.Go(func() error { return t.keepHouse(groupCtx) })
	group.Go(func() error { return t.follow(groupCtx) })
	err = group.Wait()
	return errors.Join(err, t.drain(ctx, err, stopSending))
}

// open reads where the previous leader stopped.
func (t *term) open(ctx, sending context.Context) error {
	if err := t.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	if err := t.configure(ctx); err != nil {
		return err
	}
	position, err := t.store.Position(ctx)
	if err != nil {
		return err
	}
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	t.dispatch = newDispatcher(sending, deliveryConfig{
		leader: t.leader, store: t.store, sender: t.sender, schedule: t.config.Delivery.RetrySchedule(),
		inFlight: t.config.Delivery.InFlight, queue: t.config.Delivery.Queue, metrics: t.metrics, log: t.log,
	}, position, webhooks)
	t.dispatch.start()
	return nil
}

// configure stores the configuration's webhooks.
func (t *term) configure(ctx context.Context) error {
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	position, err := t.store.Position(ctx)
	if err != nil {
		return err
	}
	return t.leader.SaveWebhooks(ctx, newSubscriptions(webhooks).configure(t.webhooks(), position.LastEvent))
}

// follow reads the source's log, session after session, as long as what ends one may pass.
func (t *term) follow(ctx context.Context) error {
	pause := newPause()
	for {
		began := time.Now()
		err := t.session(ctx)
		t.monitor.sourceFailed(err)
		if ctx.Err() != nil {
			return nil
		}
		if outboxErr, ok := errors.AsType[*ingestError](err); ok {
			return outboxErr.err
		}
		if !cdc.Retryable(err) {
			return err
		}
		t.log.Warn("reading the source's log has stopped, trying again", "err", err)
		if err := pause.wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// drain lets what is being sent end, and records it.
func (t *term) drain(ctx context.Context, failed error, stopSending func()) error {
	patience := t.config.Delivery.Timeout.Duration
	if failed != nil {
		patience = failTime
	}
	timer := time.AfterFunc(patience, stopSending)
	t.dispatch.close()
	timer.Stop()
	if failed != nil {
		return nil
	}
	if err := t.dispatch.flush(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("record the last deliveries: %w", err)
	}
	return nil
}

// keepHouse makes partitions ahead of time, drops old ones and forgets removed webhooks.
func (t *term) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		if err := t.tidy(ctx); err != nil {
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

func (t *term) tidy(ctx context.Context) error {
	if err := t.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	forgotten, err := t.leader.ForgetWebhooks(ctx)
	if err != nil {
		return err
	}
	t.dispatch.forget(forgotten)
	keep := t.config.Outbox.Retention.Duration
	if keep == 0 {
		return nil
	}
	dropped, err := t.store.DropBefore(ctx, time.Now().UTC().Add(-keep).Truncate(24*time.Hour))
	for _, name := range dropped {
		t.log.Info("dropped a partition past its retention", "partition", name)
	}
	return err
}
