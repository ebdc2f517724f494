package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// replayJSON is a replay for scripts: fields are added, not renamed.
type replayJSON struct {
	ID        int64              `json:"id"`
	Webhook   int64              `json:"webhook"`
	State     outbox.ReplayState `json:"state"`
	LookedAt  int64              `json:"looked_at"` // the events up to this one were looked at
	Through   int64              `json:"through"`   // the last event to look at
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
		ID: p.ID, Webhook: p.Webhook, State: p.State, LookedAt: p.Cursor, Through: p.Through, Queued: p.Queued, Delivered: p.Delivered(),
		Waiting: p.Waiting, Dead: p.Dead, Skipped: p.Skipped, Events: p.Events, Tenant: p.Tenant, Resource: p.Resource,
		Since: timeOrNil(p.Since), Until: timeOrNil(p.Until), Missed: p.Missed, Rate: p.Rate, Created: p.Created, Updated: p.Updated,
	}
}

// replayCommandLine is what the options of replay say.
type replayCommandLine struct {
	filterFlags
	limit        limit
	webhook      string
	missed       bool
	rate         int
	dryRun, wait bool
	json         bool
}

func replayCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	var c replayCommandLine
	path := configFlag(flags)
	flags.StringVar(&c.webhook, "webhook", "", "the `WEBHOOK` to deliver to, by name, key or number")
	flags.StringVar(&c.name, "name", "", "events whose names match this `PATTERN`, instead of those that the webhook asks for")
	c.declare(flags)
	flags.BoolVar(&c.missed, "missed", false, "only events that were never delivered to the webhook, also those from before it existed")
	flags.IntVar(&c.rate, "rate", 100, "queue this `NUMBER` of events per second, from 1 to 1000")
	flags.BoolVar(&c.dryRun, "dry-run", false, "say how many events it would be, and do nothing")
	flags.BoolVar(&c.wait, "wait", false, "follow the replay until everything is delivered or given up")
	flags.BoolVar(&c.json, "json", false, "write JSON: a line for each replay, and for each report of --wait")
	c.limit.declare(flags)
	return verbs(flags, path, []verb{
		{
			name: "start", arguments: "[EVENT]", most: 1, options: []string{"webhook", "name", "tenant", "resource", "since", "until", "missed", "rate", "dry-run", "wait"},
			summary: "deliver one event, all that the options choose, or all that a webhook has missed, once more; a running relay does the work",
			check:   c.checkStart, run: c.start,
		},
		{name: "list", summary: "list replays, the newest first", options: []string{"limit"}, check: c.limit.check, run: c.list},
		{name: "show", arguments: "ID", least: 1, most: 1, summary: "show how far a replay is", options: []string{"wait"}, check: checkReplayID, run: c.show},
		{name: "cancel", arguments: "ID", least: 1, most: 1, summary: "stop a replay; what it has queued is still delivered", check: checkReplayID, run: c.cancel},
	})
}

// checkStart refuses what cannot be meant.
func (c *replayCommandLine) checkStart(args []string) error {
	if _, err := c.filter(); err != nil {
		return err
	}
	narrowed := c.name != "" || c.tenant != "" || c.resource != "" || !c.since.IsZero() || !c.until.IsZero() || c.missed
	switch {
	case c.webhook == "":
		return &usageError{"to which webhook? give --webhook"}
	case len(args) == 0 && !narrowed:
		return &usageError{"replay what? name an EVENT, choose by --name, --tenant, --resource, --since, --until, or say --missed"}
	case len(args) == 1 && narrowed:
		return &usageError{"name one EVENT or choose by options, not both"}
	case c.rate < 1 || c.rate > 1000:
		return &usageError{"--rate is from 1 to 1000 events per second"}
	case c.dryRun && c.wait:
		return &usageError{"--dry-run has nothing to --wait for"}
	}
	if len(args) == 1 {
		return oneEvent(args)
	}
	return nil
}

func (c *replayCommandLine) start(ctx context.Context, o *opened, args []string) error {
	w, err := findWebhook(ctx, o.store, c.webhook)
	if err != nil {
		return err
	}
	if w.Removed {
		return fmt.Errorf("webhook %s was removed; there is nobody to deliver to", visible(w.Label()))
	}
	filter, err := c.filter()
	if err != nil {
		return err
	}
	r := outbox.Replay{
		Webhook: w.ID, Events: filter.Names, Tenant: filter.Tenant, Resource: filter.Resource, Since: filter.Since, Until: filter.Until,
		Missed: c.missed, Rate: c.rate,
	}
	var one *outbox.Event
	if len(args) == 1 {
		if one, err = findEvent(ctx, o.store, args[0]); err != nil {
			return err
		}
		r.Cursor, r.Through, r.Events = one.ID-1, one.ID, []string{one.Name}
	} else if some, err := o.store.Span(ctx, &r); err != nil || !some {
		return errors.Join(err, errorIf(err == nil, "the log has no event of that time"))
	}
	if outbox.ReplaysSubscribedOnly(w.Origin, w.Tenant) {
		fmt.Fprintf(o.err, "webhook %s names its tenant %q by name, and events know theirs by key: only events that it was subscribed to are replayed, while the tenant has that name\n",
			visible(w.Label()), w.Tenant)
	}
	if c.dryRun || one != nil {
		rules, err := relay.Rules(o.cfg)
		if err != nil {
			return err
		}
		table, column := rules.TenantNameColumn()
		n, err := o.store.CountReplay(ctx, &r, outbox.TenantNames{Table: table.Name, Column: column})
		switch {
		case err != nil:
			return err
		case one != nil && n == 0:
			return c.whyNot(ctx, o.store, w, one)
		case c.dryRun && c.json:
			return writeLine(o.out, map[string]int64{"events": n})
		case c.dryRun:
			fmt.Fprintf(o.out, "%d events would be delivered to %s (%s)\n", n, visible(w.Label()), place(w.URL))
			return nil
		}
	}
	id, err := o.store.CreateReplay(ctx, &r)
	if err != nil {
		return err
	}
	if !c.json {
		fmt.Fprintf(o.out, "replay %d to %s (%s); a running relay does it\n", id, visible(w.Label()), place(w.URL))
	}
	if c.wait {
		return c.follow(ctx, o.out, o.store, id)
	}
	return c.report(ctx, o.out, o.store, id, c.json)
}

func errorIf(yes bool, text string) error {
	if yes {
		return errors.New(text)
	}
	return nil
}

// whyNot says why one event is not replayed.
func (c *replayCommandLine) whyNot(ctx context.Context, store *outbox.Store, w *outbox.WebhookRef, e *outbox.Event) error {
	all, err := store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: e.ID}, Webhook: w.ID}, 1)
	if err != nil {
		return err
	}
	if len(all) == 1 {
		switch all[0].State {
		case outbox.DeliveryParked:
			return fmt.Errorf("event %d waits for its next attempt to %s; make it due with: iam-relay deliveries retry %d --webhook %d", e.ID, visible(w.Label()), e.ID, w.ID)
		case outbox.DeliveryPending:
			return fmt.Errorf("event %d is still on its way to %s", e.ID, visible(w.Label()))
		}
	}
	if e.Tenant == "" {
		return fmt.Errorf("the tenant of event %d is unknown: it is delivered to nobody", e.ID)
	}
	return fmt.Errorf("event %d is of tenant %s, and webhook %s of tenant %s: it is not replayed", e.ID, visible(e.Tenant), visible(w.Label()), visible(w.Tenant))
}
