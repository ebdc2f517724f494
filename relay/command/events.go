package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// eventJSON is an event for scripts: fields are added, not renamed.
type eventJSON struct {
	ID         int64     `json:"id"`
	WebhookID  string    `json:"webhook_id"`
	Name       string    `json:"name"`
	Tenant     string    `json:"tenant"` // its key; empty: unknown, so the event is delivered to no webhook
	TenantName string    `json:"tenant_name,omitempty"`
	Resource   string    `json:"resource"`
	Occurred   time.Time `json:"occurred"`
	LSN        string    `json:"lsn"`
	Webhooks   []int64   `json:"webhooks"` // subscribed when it was committed
}

func eventOf(e *outbox.Event, names tenantNames) eventJSON {
	return eventJSON{
		ID: e.ID, WebhookID: e.WebhookID, Name: e.Name, Tenant: e.Tenant, TenantName: names[e.Tenant], Resource: e.Resource, Occurred: e.Occurred, LSN: e.LSN.String(), Webhooks: e.Webhooks,
	}
}

// namesOf returns the names of the tenants of events.
func (s *session) namesOf(ctx context.Context, events []outbox.Event) (tenantNames, error) {
	var keys []string
	for i := range events {
		if t := events[i].Tenant; t != "" && !slices.Contains(keys, t) {
			keys = append(keys, t)
		}
	}
	if keys == nil {
		return nil, nil
	}
	return readTenantNames(ctx, s.cfg, s.store, keys)
}

// eventDetail is an event with its deliveries.
type eventDetail struct {
	eventJSON
	Deliveries []deliveryJSON  `json:"deliveries"`
	Body       json.RawMessage `json:"body,omitempty"`
}

func eventsCommand(env *environment) *cobra.Command {
	return withDefault(&cobra.Command{
		Use:   "events",
		Short: "List, show and follow events",
		Long: `List the events in the outbox, newest first; or show one, or follow them as they are stored.
` + timeHelp,
		Example: `  iam-relay events --name 'user.*' --since 24h
  iam-relay events show 4711
  iam-relay events tail`,
	}, func() *cobra.Command { return eventsListCommand(env) }, eventsShowCommand(env), eventsTailCommand(env))
}

func eventsListCommand(env *environment) *cobra.Command {
	var filter filterFlags
	var most limit
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List events, newest first",
		Long:    "List the events in the outbox, newest first.\n" + timeHelp,
		Example: "  iam-relay events list --resource 0198c0de-0000-7000-8000-000000000011",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := filter.filter()
			if err != nil {
				return err
			}
			if err := most.check(); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.listEvents(ctx, f, int(most)) })
		},
	}
	cmd.Flags().StringVar(&filter.name, "name", "", "only events whose name matches `PATTERN`, such as user.* or *.deleted")
	filter.declare(cmd)
	most.declare(cmd)
	env.jsonFlag(cmd, "print JSON, one line per event")
	return cmd
}

func (s *session) listEvents(ctx context.Context, f outbox.EventFilter, most int) error {
	var err error
	if f.Tenant, err = s.tenantKey(ctx, f.Tenant); err != nil {
		return err
	}
	all, err := s.store.Events(ctx, f, most)
	if err != nil {
		return err
	}
	names, err := s.namesOf(ctx, all)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		s.warnUnknownName(f.Names)
	}
	if s.json {
		for i := range all {
			if err := writeLine(s.out, eventOf(&all[i], names)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(s.out, "no events")
		return nil
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "event\tname\ttenant\tresource\toccurred\twebhooks")
	for i := range all {
		e := &all[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\n", e.ID, e.Name, names.text(e.Tenant), orDash(e.Resource), timeText(e.Occurred), len(e.Webhooks))
	}
	return w.Flush()
}

// warnUnknownName warns of a pattern that no event of the mapping matches.
func (s *session) warnUnknownName(patterns []string) {
	rules, err := relay.Rules(s.cfg)
	if err != nil || patterns == nil {
		return
	}
	if err := webhook.CheckPatterns(patterns, append(rules.EventNames(), delivery.OperationalEvents()...)); err != nil {
		s.warn("%s", err)
	}
}

func eventsShowCommand(env *environment) *cobra.Command {
	var body bool
	cmd := &cobra.Command{
		Use:   "show EVENT",
		Short: "Show an event and its deliveries",
		Long:  "Show an event, by its number or its webhook-id, and the state of each of its deliveries.",
		Example: `  iam-relay events show 4711
  iam-relay events show evt_0198c0de1c2a7b3e9d4f5a6b7c8d9e0f --body`,
		Args: oneArgument("EVENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := eventNamed(args[0]); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.showEvent(ctx, args[0], body) })
		},
	}
	cmd.Flags().BoolVar(&body, "body", false, "also print the body, which contains personal data")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *session) showEvent(ctx context.Context, which string, withBody bool) error {
	e, err := findEvent(ctx, s.store, which)
	if err != nil {
		return err
	}
	names, err := s.namesOf(ctx, []outbox.Event{*e})
	if err != nil {
		return err
	}
	deliveries, err := s.store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: e.ID}}, maxLimit)
	if err != nil {
		return err
	}
	var body []byte
	if withBody {
		if body, err = s.store.Body(ctx, e.ID); err != nil {
			return err
		}
	}
	if s.json {
		detail := eventDetail{eventJSON: eventOf(e, names), Deliveries: []deliveryJSON{}, Body: body}
		for i := range deliveries {
			detail.Deliveries = append(detail.Deliveries, deliveryOf(&deliveries[i], names))
		}
		return writeObject(s.out, detail)
	}
	if err := writeEvent(s.out, e, names, deliveries); err != nil {
		return err
	}
	if withBody && len(body) == 0 {
		fmt.Fprintln(s.out, "\nThe event has no body: it would be larger than outbox.max_body.")
	}
	return writeBody(s.out, body)
}

func writeEvent(out io.Writer, e *outbox.Event, names tenantNames, deliveries []outbox.DeliveryStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	tenant := e.Tenant
	switch name := names[e.Tenant]; {
	case tenant == "":
		tenant = "unknown, so it is not delivered"
	case name != "":
		tenant = fmt.Sprintf("%s (%s)", visible(name), tenant)
	}
	fmt.Fprintf(w, "event\t%d\nname\t%s\nwebhook-id\t%s\ntenant\t%s\nresource\t%s\noccurred\t%s\nlsn\t%s\n", e.ID, e.Name, e.WebhookID, tenant, orDash(e.Resource),
		e.Occurred.Format(time.RFC3339Nano), e.LSN)
	if err := w.Flush(); err != nil {
		return err
	}
	if len(deliveries) == 0 {
		fmt.Fprintln(out, "\nno deliveries")
		return nil
	}
	fmt.Fprintln(w, "\nwebhook\tstate\tattempts\tlast\tdue")
	for i := range deliveries {
		d := &deliveries[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", webhookLabel(d), d.State, d.Attempts, outcomeText(d.Class, d.Status), timeText(d.Due))
	}
	return w.Flush()
}

func writeBody(out io.Writer, body []byte) error {
	if body == nil {
		return nil
	}
	var text bytes.Buffer
	if err := json.Indent(&text, body, "", "  "); err != nil {
		return fmt.Errorf("the stored body is not JSON: %w", err)
	}
	_, err := fmt.Fprintf(out, "\n%s\n", text.String())
	return err
}
