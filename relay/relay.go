// Package relay is the program: it wires the IAM's change log, the mapping, the outbox and the senders together, and runs
// their lives.
//
//	cdc.Source → ingest (old rows from outbox.Mirror, mapping.Mapper) → outbox commit → acknowledge the log
//	           → dispatcher → webhook.Sender → outcomes recorded; failures parked, retried from the store
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

// Relay is one running relay. Any number may share an outbox: one leads and ingests, all deliver.
type Relay struct {
	config  *config.Config
	rules   *mapping.Rules
	store   *outbox.Store
	sender  *webhook.Sender
	admin   *admin.Server // nil without a listener
	metrics *admin.Metrics
	monitor *monitor.Monitor
	version string
	log     *slog.Logger
	warned  *ingest.Warnings
}

// New prepares a relay: it reads the mapping and binds the admin listener, but connects to nothing yet. The caller runs or
// closes it.
func New(cfg *config.Config, version string, log *slog.Logger) (_ *Relay, err error) {
	rules, err := Rules(cfg)
	if err != nil {
		return nil, err
	}
	if err := KnownEvents(cfg, rules); err != nil {
		return nil, err
	}
	r := &Relay{config: cfg, rules: rules, log: log, monitor: monitor.New(), version: version, warned: ingest.NewWarnings(log)}
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

// Rules loads the mapping that the configuration names. An error about its content is a *config.Error.
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

// AdminAddr is the address of the admin listener, empty without one.
func (r *Relay) AdminAddr() string {
	if r.admin == nil {
		return ""
	}
	return r.admin.Addr().String()
}

// Streaming is closed once this relay has begun to read the source's log.
func (r *Relay) Streaming() <-chan struct{} { return r.monitor.Streaming }

// Close releases what New has made, for a relay that is not run. It is used for one that New could not complete, too.
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

// Run relays until ctx ends, then drains: what is being sent may end, what is done is recorded. It returns an error if the
// relay cannot work without somebody doing something.
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

// KnownEvents checks that the configured webhooks ask for events that the mapping has. The error is a *config.Error.
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
