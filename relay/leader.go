package relay

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/monitor"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/replication"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// term is the time for which this relay leads: it alone ingests, and serves the webhooks that are live.
type leadership struct {
	*membership
	leader *outbox.Leader
}

// housekeeping is how often removed webhooks are forgotten and old partitions dropped.
const maintenanceInterval = time.Minute

// lead waits for the leadership and holds it until something fails or ctx ends.
func (s *membership) lead(ctx context.Context) error {
	leader, err := s.member.Lead(ctx, func() { s.log.Info("another relay leads, standing by"); s.monitor.SetStandby() })
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.leader = leader // closed by whoever has drained
	t := &leadership{membership: s, leader: leader}
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
		s.monitor.SetLeader(leader)
		group.Go(func() error { return t.runMaintenance(ctx) })
		group.Go(func() error { return t.replay(ctx) })
		replication := replication.New(replication.Config{
			Settings: s.config, Rules: s.rules, Store: s.store, Leader: leader, Dispatch: s.dispatch, Monitor: s.monitor, Metrics: s.metrics,
			Warned: s.warned, Clock: &monitor.ClockWatch{Server: "source", Log: s.log, Metrics: s.metrics}, Log: s.log, Only: s.only,
		})
		group.Go(func() error { return replication.Run(ctx) })
		return nil
	})
	return group.Wait()
}

// open reads where the previous leader stopped.
func (t *leadership) open(ctx context.Context) error {
	if err := t.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	if err := t.saveConfiguredWebhooks(ctx); err != nil {
		return err
	}
	position, err := t.store.Position(ctx)
	if err != nil {
		return err
	}
	// Before the ends of pauses are read. watch does it from when the dispatcher knows the leader.
	if err := t.dispatch.FollowClock(ctx, t.leader); err != nil {
		return err
	}
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	blocked, err := t.dispatch.Blocked(ctx, webhooks)
	if err != nil {
		return err
	}
	t.dispatch.Lead(t.leader, position, webhooks, blocked)
	return nil
}

// configure stores the configuration's webhooks.
func (t *leadership) saveConfiguredWebhooks(ctx context.Context) error {
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	position, err := t.store.Position(ctx)
	if err != nil {
		return err
	}
	return t.leader.SaveWebhooks(ctx, ingest.Configured(webhooks, t.configuredWebhooks(), position.LastEvent))
}

// webhooks are the configured subscriptions as the outbox keeps them.
func (r *Relay) configuredWebhooks() []outbox.Webhook {
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

// keepHouse makes partitions ahead of time, drops old ones and forgets removed webhooks.
func (t *leadership) runMaintenance(ctx context.Context) error {
	return loop.Every(ctx, maintenanceInterval, nil, t.maintain)
}

func (t *leadership) maintain(ctx context.Context) error {
	if err := t.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	forgotten, err := t.leader.ForgetWebhooks(ctx)
	if err != nil {
		return err
	}
	t.dispatch.Forget(forgotten)
	if _, err := t.store.DropExpiredSecrets(ctx); err != nil {
		return err
	}
	keep := t.config.Outbox.Retention.Duration
	if keep == 0 {
		return nil
	}
	expiries, err := t.leader.DropExpired(ctx, keep, int(min(keep, expiryGrace)/maintenanceInterval))
	for i := range expiries {
		t.reportExpiry(&expiries[i])
	}
	return err
}

// expiryGrace is for how long of the relay's own running time a day past its retention is kept whose events were not all delivered.
const expiryGrace = 24 * time.Hour

func (t *leadership) reportExpiry(e *outbox.Expiry) {
	for _, owed := range e.Owed {
		if e.Dropped {
			t.log.Warn("dropped undelivered events past outbox.retention", "webhook", owed.Name, "id", owed.ID, "events", owed.Events, "partition", e.Partition)
		} else {
			t.log.Warn("undelivered events are past outbox.retention and will be dropped; restore the endpoint or raise outbox.retention",
				"webhook", owed.Name, "id", owed.ID, "events", owed.Events, "partition", e.Partition, "in", (time.Duration(e.Kept) * maintenanceInterval).String())
		}
	}
	if e.Dropped {
		t.log.Info("dropped a partition past outbox.retention", "partition", e.Partition)
	}
}
