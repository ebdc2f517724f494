package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// replayJSON is a replay for scripts: fields are added, not renamed.
type replayJSON struct {
	ID        int64              `json:"id"`
	Webhook   int64              `json:"webhook"`
	State     outbox.ReplayState `json:"state"`
	Cursor    int64              `json:"cursor"`  // the events up to this one were examined
	Through   int64              `json:"through"` // the last event to examine
	Queued    int64              `json:"queued"`
	Delivered int64              `json:"delivered"`
	Waiting   int64              `json:"waiting"`
	Dead      int64              `json:"dead"`
	Skipped   int64              `json:"skipped"`
	Events    []string           `json:"events"` // patterns; empty: those of the webhook
	Tenant    string             `json:"tenant,omitempty"`
	Resource  string             `json:"resource,omitempty"`
	Since     *time.Time         `json:"since,omitempty"`
	Until     *time.Time         `json:"until,omitempty"`
	Missed    bool               `json:"missed"`
	Rate      int                `json:"rate"`
	Created   time.Time          `json:"created"`
	Updated   time.Time          `json:"updated"`
}

func replayOf(p *outbox.ReplayProgress) replayJSON {
	return replayJSON{
		ID: p.ID, Webhook: p.Webhook, State: p.State, Cursor: p.Cursor, Through: p.Through, Queued: p.Queued, Delivered: p.Delivered(),
		Waiting: p.Waiting, Dead: p.Dead, Skipped: p.Skipped, Events: p.Events, Tenant: p.Tenant, Resource: p.Resource,
		Since: timeOrNil(p.Since), Until: timeOrNil(p.Until), Missed: p.Missed, Rate: p.Rate, Created: p.Created, Updated: p.Updated,
	}
}

// replayFlags choose the events to replay and how.
type replayFlags struct {
	filterFlags
	webhook      string
	missed       bool
	rate         int
	dryRun, wait bool
}

func replayCommand(env *environment) *cobra.Command {
	return withDefault(&cobra.Command{
		Use:   "replay",
		Short: "Deliver stored events again",
		Long: `Deliver one event, those that the flags choose, or all that a webhook has missed, once more to
a webhook. A running relay does the work; the command only asks for it.
` + timeHelp,
		Example: `  iam-relay replay 4711 --webhook crm
  iam-relay replay --webhook crm --name 'user.*' --since 24h --dry-run
  iam-relay replay --webhook crm --missed --wait`,
	}, func() *cobra.Command { return replayStartCommand(env) },
		replayListCommand(env), replayShowCommand(env), replayCancelCommand(env))
}

func replayStartCommand(env *environment) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "start [EVENT]",
		Short: "Start a replay",
		Long: `Deliver one event, those that the flags choose, or all that a webhook has missed, once more to
a webhook. A running relay does the work.
` + timeHelp,
		Example: "  iam-relay replay start --webhook crm --missed --wait",
		Args:    optionalArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.startReplay(ctx, &f, args) })
		},
	}
	cmd.Flags().StringVar(&f.webhook, "webhook", "", "the `WEBHOOK` to deliver to, by name, key or number (required)")
	cmd.Flags().StringVar(&f.name, "name", "", "events whose name matches `PATTERN`, instead of those that the webhook subscribes to")
	f.declare(cmd)
	cmd.Flags().BoolVar(&f.missed, "missed", false, "only events never delivered to the webhook, including those from before it existed")
	cmd.Flags().IntVar(&f.rate, "rate", 100, "queue this `NUMBER` of events per second, from 1 to 1000")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print how many events would be delivered, and change nothing")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "follow the replay until everything is delivered or dead")
	env.jsonFlag(cmd, "print JSON, one line per report")
	return cmd
}

// check refuses contradictions.
func (f *replayFlags) check(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		if _, err := eventNamed(args[0]); err != nil {
			if suggestion := suggestedCommand(cmd, args[0]); suggestion != "" {
				return unknownCommand(cmd, args[0])
			}
			return err
		}
	}
	if _, err := f.filter(); err != nil {
		return err
	}
	narrowed := f.name != "" || f.tenant != "" || f.resource != "" || !f.since.IsZero() || !f.until.IsZero() || f.missed
	switch {
	case f.webhook == "":
		return &usageError{"no webhook given: name it with --webhook"}
	case len(args) == 0 && !narrowed:
		return &usageError{"nothing to replay: give an EVENT, a filter (--name, --tenant, --resource, --since, --until), or --missed"}
	case len(args) == 1 && narrowed:
		return &usageError{"give either one EVENT or a filter"}
	case f.rate < 1 || f.rate > 1000:
		return &usageError{"--rate must be from 1 to 1000 events per second"}
	case f.dryRun && f.wait:
		return &usageError{"--dry-run starts nothing that --wait could follow"}
	}
	return nil
}

func (s *session) startReplay(ctx context.Context, flags *replayFlags, args []string) error {
	w, err := findWebhook(ctx, s.store, flags.webhook)
	if err != nil {
		return err
	}
	if w.Removed {
		return fmt.Errorf("webhook %s was removed; nothing can be delivered to it", visible(w.Label()))
	}
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	if filter.Tenant, err = s.tenantKey(ctx, filter.Tenant); err != nil {
		return err
	}
	r := outbox.Replay{
		Webhook: w.ID, Events: filter.Names, Tenant: filter.Tenant, Resource: filter.Resource, Since: filter.Since, Until: filter.Until,
		Missed: flags.missed, Rate: flags.rate,
	}
	var one *outbox.Event
	if len(args) == 1 {
		if one, err = findEvent(ctx, s.store, args[0]); err != nil {
			return err
		}
		r.Cursor, r.Through, r.Events = one.ID-1, one.ID, []string{one.Name}
	} else if some, err := s.store.Span(ctx, &r); err != nil {
		return err
	} else if !some {
		return errors.New("the outbox has no event of that time; iam-relay events lists those that it has")
	}
	if outbox.ReplaysSubscribedOnly(w.Origin, w.Tenant) {
		s.warn("webhook %s names its tenant %q by name, and events have the tenant's key: only events that it was subscribed to are replayed, while the tenant has that name",
			visible(w.Label()), w.Tenant)
	}
	if flags.dryRun || one != nil {
		if done, err := s.countReplay(ctx, &r, w, one, flags.dryRun); err != nil || done {
			return err
		}
	}
	id, err := s.store.CreateReplay(ctx, &r)
	if err != nil {
		return err
	}
	if !s.json {
		fmt.Fprintf(s.out, "replay %d to %s (%s) started; a running relay does the work\n", id, visible(w.Label()), schemeAndHost(w.URL))
	}
	if flags.wait {
		return s.followReplay(ctx, id)
	}
	if s.json {
		return s.printReplay(ctx, id)
	}
	return nil
}

// countReplay counts the events of a replay before it starts. It reports whether that was all, as it is of a dry run.
func (s *session) countReplay(ctx context.Context, r *outbox.Replay, w *outbox.WebhookRef, one *outbox.Event, dryRun bool) (done bool, err error) {
	rules, err := relay.Rules(s.cfg)
	if err != nil {
		return false, err
	}
	table, column := rules.TenantNameColumn()
	n, err := s.store.CountReplay(ctx, r, outbox.TenantNames{Table: table, Column: column})
	switch {
	case err != nil:
		return false, err
	case one != nil && n == 0:
		return false, s.notReplayed(ctx, w, one)
	case dryRun && s.json:
		return true, writeLine(s.out, map[string]int64{"events": n})
	case dryRun:
		fmt.Fprintf(s.out, "%s would be delivered to %s (%s)\n", count(n, "event"), visible(w.Label()), schemeAndHost(w.URL))
	}
	return dryRun, nil
}

// notReplayed is the reason why an event is not replayed.
func (s *session) notReplayed(ctx context.Context, w *outbox.WebhookRef, e *outbox.Event) error {
	all, err := s.store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: e.ID}, Webhook: w.ID}, 1)
	if err != nil {
		return err
	}
	if len(all) == 1 {
		switch all[0].State {
		case outbox.DeliveryRetrying:
			return fmt.Errorf("event %d is already being retried for %s; retry it now with iam-relay deliveries retry %d --webhook %d", e.ID, visible(w.Label()), e.ID, w.ID)
		case outbox.DeliveryPending:
			return fmt.Errorf("event %d is pending: it has not been attempted for %s yet; see the state of the webhook with iam-relay webhooks show %d", e.ID, visible(w.Label()), w.ID)
		}
	}
	if e.Tenant == "" {
		return fmt.Errorf("the tenant of event %d is unknown, so it is delivered to no webhook", e.ID)
	}
	return fmt.Errorf("event %d belongs to tenant %s and webhook %s to tenant %s, so it is not replayed", e.ID, visible(e.Tenant), visible(w.Label()), visible(w.Tenant))
}
