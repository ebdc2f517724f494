// Package relay wires the stages together and runs them: Relay (relay.go) is the process, membership (member.go) its time in the group
// of relays that share an outbox, leadership (leader.go) the time during which it leads that group. The commands start it; the stages
// do their work in packages of their own, in the order in which a change travels:
//
//	replication → ingest (old rows from outbox.Mirror, rules from mapping) → outbox commit → acknowledge the WAL
//	            → delivery → webhook → outcomes recorded; failures become retries in the outbox
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/monitor"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Relay is one relay process. Any number of them may share an outbox: one leads and ingests, all deliver.
type Relay struct {
	config   *config.Config
	rules    *mapping.Rules
	store    *outbox.Store
	sender   *webhook.Sender
	admin    *admin.Server // nil without admin.listen
	metrics  *admin.Metrics
	monitor  *monitor.Monitor
	version  string
	log      *slog.Logger
	warnings *ingest.Warnings
}

// New prepares a relay: it reads the mapping and binds the admin listener, but connects to nothing. The caller must call Run, Reconcile
// or Close. Mistakes in the configuration and in the mapping are a *config.Error.
func New(cfg *config.Config, version string, log *slog.Logger) (_ *Relay, err error) {
	rules, err := Rules(cfg)
	if err != nil {
		return nil, err
	}
	if err := KnownEvents(cfg, rules); err != nil {
		return nil, err
	}
	r := &Relay{config: cfg, rules: rules, log: log, monitor: monitor.New(), version: version, warnings: ingest.NewWarnings(log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.sender, err = webhook.NewSender(cfg.Delivery.Sender(version)); err != nil {
		return nil, err
	}
	if r.store, err = outbox.Open(string(cfg.OutboxURL()), cfg.Outbox.Schema, cfg.Outbox.EncryptionKeys()); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	var classes []string
	for _, c := range webhook.Classes() {
		classes = append(classes, string(c))
	}
	r.metrics = admin.NewMetrics(registry, classes...)
	if cfg.Admin.Listen != "" {
		r.admin, err = admin.New(admin.Config{
			Listen: cfg.Admin.Listen, Logger: log, Registry: registry, Ready: r.monitor.Checks, Gauges: r.monitor.Gauges, Version: version,
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Rules loads the mapping that the configuration names. Mistakes in the mapping are a *config.Error with their file and line.
func Rules(cfg *config.Config) (*mapping.Rules, error) {
	rules, err := mapping.Load(mapping.Options{
		Preset: cfg.Mapping.Preset, File: cfg.Mapping.File, Schema: cfg.Mapping.Schema, ResourceID: cfg.Mapping.ResourceID, Drop: cfg.Mapping.Drop,
	})
	invalid, ok := errors.AsType[*mapping.Error](err)
	if !ok {
		return rules, err
	}
	var located config.Error
	for _, p := range invalid.Problems {
		if p.Option != "" {
			located.Problems = append(located.Problems, cfg.Problem("mapping."+p.Option, p.Text))
		} else {
			located.Problems = append(located.Problems, config.Problem{Place: config.Place{File: p.File, Line: p.Line}, Text: p.Text})
		}
	}
	return nil, &located
}

// AdminAddr returns the address of the admin listener, "" if there is none.
func (r *Relay) AdminAddr() string {
	if r.admin == nil {
		return ""
	}
	return r.admin.Addr().String()
}

// Streaming returns a channel that is closed once this relay streams the WAL for the first time.
func (r *Relay) Streaming() <-chan struct{} { return r.monitor.Streaming }

// Close releases the resources of a relay that is not run. New calls it on a relay that it could not complete.
func (r *Relay) Close() error {
	if r.store != nil {
		r.store.Close()
	}
	if r.sender != nil {
		r.sender.Close()
	}
	if r.admin != nil {
		return r.admin.Close()
	}
	return nil
}

// Run ingests and delivers until ctx ends, then drains: requests in flight may finish, and their outcomes are recorded. It retries
// transient failures; an error that it returns needs an operator.
func (r *Relay) Run(ctx context.Context) error {
	defer r.store.Close()
	defer r.sender.Close()
	group, ctx := errgroup.WithContext(ctx)
	if r.admin != nil {
		group.Go(func() error { return r.admin.Run(ctx) })
	}
	group.Go(func() error { return r.serve(ctx) })
	group.Go(func() error {
		return r.monitor.WatchSlot(ctx, monitor.SlotConfig{
			URL: string(r.config.Source.URL), Slot: r.config.Source.Slot, Warning: r.config.Source.RetainedWarning.Bytes, Store: r.store, Log: r.log,
		})
	})
	return group.Wait()
}

// KnownEvents checks that the events of every configured webhook exist in the mapping. The error is a *config.Error.
func KnownEvents(cfg *config.Config, rules *mapping.Rules) error {
	var unknown config.Error
	known := append(rules.EventNames(), delivery.OperationalEvents()...)
	for i, e := range cfg.Endpoints() {
		if err := webhook.CheckPatterns(e.Events, known); err != nil {
			unknown.Problems = append(unknown.Problems, cfg.Problem(fmt.Sprintf("webhook[%d].events", i), strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
	if unknown.Problems != nil {
		return &unknown
	}
	return nil
}
