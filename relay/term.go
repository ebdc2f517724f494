package relay

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// term is the time for which this relay leads: it alone ingests, and serves the webhooks that are live.
type term struct {
	*shift
	leader *outbox.Leader
	// hole is why the log cannot be read on although the slot is there; nil if it can.
	hole error
	// copyWait is how long the last attempt to read tables again has waited for open transactions; 0 if it succeeded.
	copyWait time.Duration
	clock    clockWatch // of the source
}

// housekeeping is how often removed webhooks are forgotten and old partitions dropped.
const housekeeping = time.Minute

// lead waits for the leadership and holds it until something fails or ctx ends.
func (s *shift) lead(ctx context.Context) error {
	leader, err := s.member.Lead(ctx, func() { s.log.Info("another relay leads, standing by"); s.monitor.standsBy() })
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.leader = leader // closed by whoever has drained
	t := &term{shift: s, leader: leader, clock: clockWatch{server: "source", log: s.log, metrics: s.metrics}}
	group, ctx := errgroup.WithContext(ctx)
	// Opening may take long, so the loss of the lock is watched for from the beginning.
	group.Go(func() error { return leader.Watch(ctx) })
	group.Go(func() error {
		if err := t.open(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // the lock was lost, or the relay stops
			}
			return err
		}
		s.log.Info("leading", "epoch", leader.Epoch())
		s.monitor.leads(leader)
		group.Go(func() error { return t.keepHouse(ctx) })
		group.Go(func() error { return t.replay(ctx) })
		group.Go(func() error { return t.follow(ctx) })
		return nil
	})
	return group.Wait()
}

// open reads where the previous leader stopped.
func (t *term) open(ctx context.Context) error {
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
	// Before the ends of pauses are read. watch does it from when the dispatcher knows the leader.
	if err := t.dispatch.followClockAs(ctx, t.leader); err != nil {
		return err
	}
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	blocked, err := t.dispatch.blockedOf(ctx, webhooks)
	if err != nil {
		return err
	}
	t.dispatch.lead(t.leader, position, webhooks, blocked)
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

// webhooks are the configured subscriptions as the outbox keeps them.
func (r *Relay) webhooks() []outbox.Webhook {
	endpoints := r.config.Endpoints()
	webhooks := make([]outbox.Webhook, len(endpoints))
	for i := range endpoints {
		webhooks[i] = stored(&endpoints[i])
	}
	return webhooks
}

func stored(e *webhook.Endpoint) outbox.Webhook {
	w := outbox.Webhook{
		Origin: outbox.OriginConfig, Key: e.Key, Tenant: e.Tenant, Name: e.Name, Description: e.Description, URL: e.URL,
		Headers: e.Headers, Events: e.Events, Enabled: !e.Disabled,
		Options: e.Options.JSON(), Credentials: e.Credentials.JSON(), Exclusive: e.Options.Exclusive(),
	}
	for _, s := range e.Secrets {
		w.Secrets = append(w.Secrets, string(s))
	}
	return w
}

// follow reads the source's log, session after session, as long as what ends one may pass.
func (t *term) follow(ctx context.Context) error {
	pause := newPause()
	for {
		began := time.Now()
		err := t.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errFinished):
			return err
		case errors.Is(err, errAnew), errors.Is(err, errCatalog), errors.Is(err, errPostponed):
			t.log.Info("restarting the replication session", "why", err)
			continue
		}
		if altered, ok := errors.AsType[*cdc.AlteredError](err); ok {
			if err := t.lookAgain(ctx, altered); err != nil {
				return err
			}
			continue
		}
		t.monitor.sourceFailed(err)
		if outboxErr, ok := errors.AsType[*ingestError](err); ok {
			if t.monitor.ingestFailed(outboxErr.err) == 2 {
				t.log.Error("ingestion fails again and again at the same position: no tenant's events come through; see to the cause, it is retried", "err", outboxErr.err)
			}
			return outboxErr.err
		}
		if !cdc.Retryable(err) && !t.heals(err) {
			return err
		}
		t.log.Warn("reading the source's log has stopped, trying again", "err", err)
		if err := pause.wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// lookAgain prepares the session that reads on where the WAL and the catalogue, as it was, did not fit.
func (t *term) lookAgain(ctx context.Context, altered *cdc.AlteredError) error {
	t.log.Info("restarting the replication session", "why", altered)
	if !altered.Suspect {
		return nil
	}
	return t.leader.Suspect(ctx, altered.Table)
}

// heals reports whether the next session can do something about a log that cannot be read on.
func (t *term) heals(err error) bool {
	positionErr, ok := errors.AsType[*cdc.PositionError](err)
	if ok && positionErr.Mismatch != cdc.OtherHistory {
		return false // that was its answer
	}
	if ok || errors.Is(err, cdc.ErrPublicationMissing) {
		if t.hole != nil && t.mayReconcile(nil, err) != nil {
			return false
		}
		t.hole = err
		return true
	}
	return errors.Is(err, cdc.ErrSlotMissing) || errors.Is(err, cdc.ErrSlotLost)
}

// keepHouse makes partitions ahead of time, drops old ones and forgets removed webhooks.
func (t *term) keepHouse(ctx context.Context) error {
	return every(ctx, housekeeping, nil, t.tidy)
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
	if _, err := t.store.DropExpiredSecrets(ctx); err != nil {
		return err
	}
	keep := t.config.Outbox.Retention.Duration
	if keep == 0 {
		return nil
	}
	expiries, err := t.leader.DropExpired(ctx, keep, int(min(keep, expiryGrace)/housekeeping))
	for i := range expiries {
		t.reportExpiry(&expiries[i])
	}
	return err
}

// expiryGrace is for how long of the relay's own running time a day past its retention is kept whose events were not all delivered.
const expiryGrace = 24 * time.Hour

func (t *term) reportExpiry(e *outbox.Expiry) {
	for _, owed := range e.Owed {
		if e.Dropped {
			t.log.Warn("events past their retention were dropped undelivered", "webhook", owed.Name, "id", owed.ID, "events", owed.Events, "partition", e.Partition)
		} else {
			t.log.Warn("events past their retention were not delivered, and will be dropped: restore the endpoint, or raise outbox.retention",
				"webhook", owed.Name, "id", owed.ID, "events", owed.Events, "partition", e.Partition, "in", (time.Duration(e.Kept) * housekeeping).String())
		}
	}
	if e.Dropped {
		t.log.Info("dropped a partition past its retention", "partition", e.Partition)
	}
}
