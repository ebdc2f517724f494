package relay

import (
	"context"
	"errors"
	"time"

	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/replication"
	"golang.org/x/sync/errgroup"
)

// Reconcile ingests like Run, but delivers nothing, until the reconciliation with the given id is finished. It serves
// `iam-relay reconcile` when no relay is running. While another relay leads, that one reconciles and this one waits; so the caller ends
// ctx when the stored reconciliation is finished.
func (r *Relay) Reconcile(ctx context.Context, id int64) error {
	defer r.store.Close()
	defer r.sender.Close()
	if err := r.store.Migrate(ctx); err != nil {
		return err
	}
	backoff := loop.NewBackoff()
	for {
		began := time.Now()
		err := r.reconcileOnce(ctx, id)
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, replication.ErrDone):
			return nil //nolint:nilerr // the expected end
		case !outbox.IsTransient(err):
			return err
		}
		r.log.Warn("outbox failed; retrying", "err", err)
		if err := backoff.Wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// reconcileOnce joins the group and leads until the reconciliation is finished or something fails.
func (r *Relay) reconcileOnce(ctx context.Context, id int64) error {
	member, err := r.store.Join(ctx, r.version)
	if err != nil {
		return err
	}
	m := &membership{Relay: r, member: member, onlyReconciliation: id, dispatcher: delivery.New(r.deliveryConfig(member))}
	defer m.resign()
	m.dispatcher.Stop(0) // the next leader delivers the events
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return member.Beat(groupCtx) })
	group.Go(func() error { return m.lead(groupCtx) })
	err = group.Wait()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), failureDrainTimeout)
	defer cancel()
	return errors.Join(err, member.Leave(leaving))
}
