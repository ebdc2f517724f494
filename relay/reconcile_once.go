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

// Reconcile does what Run does for the log, without delivering anything, until the reconciliation with the given number is finished: for
// when no relay runs. While another one leads it waits; that one does it. Run it with a context that ends when the record says so.
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
			return nil //nolint:nilerr // it was to end
		case !outbox.IsTransient(err):
			return err
		}
		r.log.Warn("outbox failed; retrying", "err", err)
		if err := backoff.Wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// reconcileOnce leads until it is finished or something fails.
func (r *Relay) reconcileOnce(ctx context.Context, id int64) error {
	member, err := r.store.Join(ctx, r.version)
	if err != nil {
		return err
	}
	s := &membership{Relay: r, member: member, only: id, dispatch: delivery.New(r.deliveryConfig(member))}
	defer s.resign()
	s.dispatch.Stop(0) // whoever leads next sends what there is
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return member.Beat(groupCtx) })
	group.Go(func() error { return s.lead(groupCtx) })
	err = group.Wait()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), failTime)
	defer cancel()
	return errors.Join(err, member.Leave(leaving))
}
