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
func (m *membership) lead(ctx context.Context) error {
	leader, err := m.member.Lead(ctx, func() { m.log.Info("another relay leads; this one is on standby"); m.monitor.SetStandby() })
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	m.leader = leader // closed by the membership after the drain
	l := &leadership{membership: m, leader: leader}
	group, ctx := errgroup.WithContext(ctx)
	// The lock can be lost while open is still reading, so the watch comes first.
	group.Go(func() error { return leader.Watch(ctx) })
	group.Go(func() error {
		if err := l.open(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // the lock was lost, or the relay stops
			}
			return err
		}
		m.log.Info("leading", "epoch", leader.Epoch())
		m.monitor.SetLeader(leader)
		group.Go(func() error { return l.runMaintenance(ctx) })
		group.Go(func() error { return l.replay(ctx) })
		group.Go(func() error { return l.newReplicator().Run(ctx) })
		return nil
	})
	return group.Wait()
}

func (l *leadership) newReplicator() *replication.Replicator {
	return replication.New(replication.Config{
		Settings: l.config, Rules: l.rules, Store: l.store, Leader: l.leader, Dispatcher: l.dispatcher, Monitor: l.monitor, Metrics: l.metrics,
		Warnings: l.warnings, Clock: &monitor.ClockWatch{Server: "source", Log: l.log, Metrics: l.metrics}, Log: l.log,
		OnlyReconciliation: l.onlyReconciliation,
	})
}

// open prepares to continue where the previous leader stopped: it stores the configured webhooks and hands the position and all
// webhooks to the dispatcher.
func (l *leadership) open(ctx context.Context) error {
	if err := l.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	if err := l.saveConfiguredWebhooks(ctx); err != nil {
		return err
	}
	position, err := l.store.Position(ctx)
	if err != nil {
		return err
	}
	// The outbox server's clock must be known before the ends of pauses are read.
	if err := l.dispatcher.FollowClock(ctx, l.leader); err != nil {
		return err
	}
	webhooks, err := l.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	blocked, err := l.dispatcher.Blocked(ctx, webhooks)
	if err != nil {
		return err
	}
	l.dispatcher.Lead(l.leader, position, webhooks, blocked)
	return nil
}

// saveConfiguredWebhooks stores the webhooks of the configuration, and ends those that it no longer has.
func (l *leadership) saveConfiguredWebhooks(ctx context.Context) error {
	webhooks, err := l.store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	position, err := l.store.Position(ctx)
	if err != nil {
		return err
	}
	return l.leader.SaveWebhooks(ctx, ingest.Configured(webhooks, l.configuredWebhooks(), position.LastEvent))
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
func (l *leadership) runMaintenance(ctx context.Context) error {
	return loop.Every(ctx, maintenanceInterval, nil, l.maintain)
}

// maintain creates partitions ahead of time, drops expired ones, and deletes removed webhooks and expired secrets.
func (l *leadership) maintain(ctx context.Context) error {
	if err := l.leader.EnsurePartitions(ctx); err != nil {
		return err
	}
	forgotten, err := l.leader.ForgetWebhooks(ctx)
	if err != nil {
		return err
	}
	l.dispatcher.Forget(forgotten)
	if _, err := l.store.DropExpiredSecrets(ctx); err != nil {
		return err
	}
	keep := l.config.Outbox.Retention.Duration
	if keep == 0 {
		return nil
	}
	expiries, err := l.leader.DropExpired(ctx, keep, int(min(keep, expiryGrace)/maintenanceInterval))
	for i := range expiries {
		l.reportExpiry(&expiries[i])
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
func (l *leadership) replay(ctx context.Context) error {
	table, column := l.rules.TenantNameColumn()
	names := outbox.TenantNames{Table: table, Column: column}
	return loop.Every(ctx, replayInterval, nil, func(ctx context.Context) error {
		for more := true; more; {
			var err error
			if more, err = l.leader.AdvanceReplays(ctx, names); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *leadership) reportExpiry(e *outbox.Expiry) {
	for _, owed := range e.Owed {
		if e.Dropped {
			l.log.Warn("dropped undelivered events past outbox.retention", "webhook", owed.Name, "id", owed.ID, "events", owed.Events, "partition", e.Partition)
		} else {
			l.log.Warn("undelivered events are past outbox.retention and will be dropped; restore the endpoint or raise outbox.retention",
				"webhook", owed.Name, "id", owed.ID, "events", owed.Events, "partition", e.Partition, "in", (time.Duration(e.Kept) * maintenanceInterval).String())
		}
	}
	if e.Dropped {
		l.log.Info("dropped a partition past outbox.retention", "partition", e.Partition)
	}
}
