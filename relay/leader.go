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

// leadership is the time during which this relay leads the group: it alone ingests, replays, runs the outbox's maintenance, and
// serves the live endpoints.
type leadership struct {
	*membership
	leader *outbox.Leader
}

// maintenanceInterval is how often removed webhooks are deleted and expired partitions dropped.
const maintenanceInterval = time.Minute

// lead waits until this relay may lead, and leads until something fails or ctx ends.
func (s *membership) lead(ctx context.Context) error {
	leader, err := s.member.Lead(ctx, func() { s.log.Info("another relay leads, standing by"); s.monitor.SetStandby() })
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.leader = leader // closed by the membership after the drain
	t := &leadership{membership: s, leader: leader}
	group, ctx := errgroup.WithContext(ctx)
	// The lock can be lost while open is still reading, so the watch comes first.
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
		group.Go(func() error { return t.newReplicator().Run(ctx) })
		return nil
	})
	return group.Wait()
}

func (t *leadership) newReplicator() *replication.Replicator {
	return replication.New(replication.Config{
		Settings: t.config, Rules: t.rules, Store: t.store, Leader: t.leader, Dispatcher: t.dispatcher, Monitor: t.monitor, Metrics: t.metrics,
		Warnings: t.warnings, Clock: &monitor.ClockWatch{Server: "source", Log: t.log, Metrics: t.metrics}, Log: t.log,
		OnlyReconciliation: t.onlyReconciliation,
	})
}

// open prepares to continue where the previous leader stopped: it stores the configured webhooks and hands the position and all
// webhooks to the dispatcher.
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
	// The outbox server's clock must be known before the ends of pauses are read.
	if err := t.dispatcher.FollowClock(ctx, t.leader); err != nil {
		return err
	}
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	blocked, err := t.dispatcher.Blocked(ctx, webhooks)
	if err != nil {
		return err
	}
	t.dispatcher.Lead(t.leader, position, webhooks, blocked)
	return nil
}

// saveConfiguredWebhooks stores the webhooks of the configuration, and ends those that it no longer has.
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

// configuredWebhooks returns the webhooks of the configuration in the form in which the outbox stores them.
func (r *Relay) configuredWebhooks() []outbox.Webhook {
	endpoints := r.config.Endpoints()
	webhooks := make([]outbox.Webhook, len(endpoints))
	for i := range endpoints {
		webhooks[i] = storedForm(&endpoints[i])
	}
	return webhooks
}

func storedForm(e *webhook.Endpoint) outbox.Webhook {
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

// runMaintenance calls maintain periodically until ctx ends or it fails.
func (t *leadership) runMaintenance(ctx context.Context) error {
	return loop.Every(ctx, maintenanceInterval, nil, t.maintain)
}

// maintain creates partitions ahead of time, drops expired ones, and deletes removed webhooks and expired secrets.
func (t *leadership) maintain(ctx context.Context) error {
	if err := t.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	forgotten, err := t.leader.ForgetWebhooks(ctx)
	if err != nil {
		return err
	}
	t.dispatcher.Forget(forgotten)
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

// expiryGrace is how long an expired partition with undelivered events is kept, counted in time during which a relay leads. A relay
// that was down for longer than the retention can so still deliver.
const expiryGrace = 24 * time.Hour

// replayInterval is how often requested replays are looked for, and how often a replay that must be paced continues.
const replayInterval = time.Second

// replay advances the requested replays step by step until ctx ends. Their whole state is in the outbox, so the next leader continues
// them.
func (t *leadership) replay(ctx context.Context) error {
	table, column := t.rules.TenantNameColumn()
	names := outbox.TenantNames{Table: table.Name, Column: column}
	return loop.Every(ctx, replayInterval, nil, func(ctx context.Context) error {
		for more := true; more; {
			var err error
			if more, err = t.leader.AdvanceReplays(ctx, names); err != nil {
				return err
			}
		}
		return nil
	})
}

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
