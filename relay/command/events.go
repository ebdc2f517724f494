package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// eventJSON is an event of the log for scripts: fields are added, not renamed.
type eventJSON struct {
	ID        int64     `json:"id"`
	WebhookID string    `json:"webhook_id"`
	Name      string    `json:"name"`
	Tenant    string    `json:"tenant"` // empty: unknown, so it goes to nobody
	Resource  string    `json:"resource"`
	Occurred  time.Time `json:"occurred"`
	LSN       string    `json:"lsn"`
	Webhooks  []int64   `json:"webhooks"` // subscribed when it was committed
}

func eventOf(e *outbox.Event) eventJSON {
	return eventJSON{
		ID: e.ID, WebhookID: e.WebhookID, Name: e.Name, Tenant: e.Tenant, Resource: e.Resource, Occurred: e.Occurred, LSN: e.LSN.String(), Webhooks: e.Webhooks,
	}
}

// eventDetail is an event with how it fares.
type eventDetail struct {
	eventJSON
	Deliveries []deliveryJSON  `json:"deliveries"`
	Body       json.RawMessage `json:"body,omitempty"`
}

type eventsCommandLine struct {
	filterFlags
	limit      limit
	body, json bool
}

func eventsCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	var c eventsCommandLine
	path := configFlag(flags)
	flags.StringVar(&c.name, "name", "", "only events whose names match this `PATTERN`, as user.* or *.deleted")
	c.declare(flags)
	flags.Lookup("since").Usage += "; tail begins there, and takes a number, too, to begin so many events back"
	flags.BoolVar(&c.body, "body", false, "show the body, too: it has personal data")
	flags.BoolVar(&c.json, "json", false, "write JSON: list and tail write a line for each event, show an object")
	c.limit.declare(flags)
	return verbs(flags, path, []verb{
		{
			name: "list", summary: "list events, the newest first", options: []string{"name", "tenant", "resource", "since", "until", "limit"},
			check: c.checkList, run: c.list,
		},
		{
			name: "show", arguments: "EVENT", least: 1, most: 1, options: []string{"body"}, summary: "show one event, and how each of its deliveries stands",
			check: oneEvent, run: c.show,
		},
		{
			name: "tail", summary: "show events as they come, until it is interrupted", options: []string{"name", "tenant", "resource", "since"},
			check: c.checkTail, run: c.tail,
		},
	})
}

func (c *eventsCommandLine) checkList([]string) error {
	if _, err := c.filter(); err != nil {
		return err
	}
	return c.limit.check(nil)
}

func (c *eventsCommandLine) checkTail([]string) error {
	_, _, err := c.tailFilter()
	return err
}

func (c *eventsCommandLine) list(ctx context.Context, o *opened, _ []string) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	all, err := o.store.Events(ctx, f, int(c.limit))
	if err != nil {
		return err
	}
	if c.json {
		for i := range all {
			if err := writeLine(o.out, eventOf(&all[i])); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(o.out, "no events")
		return nil
	}
	w := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "event\tname\ttenant\tresource\toccurred\twebhooks")
	for i := range all {
		e := &all[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\n", e.ID, e.Name, orDash(e.Tenant), orDash(e.Resource), clock(e.Occurred), len(e.Webhooks))
	}
	return w.Flush()
}

func (c *eventsCommandLine) show(ctx context.Context, o *opened, args []string) error {
	e, err := findEvent(ctx, o.store, args[0])
	if err != nil {
		return err
	}
	deliveries, err := o.store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: e.ID}}, 100_000)
	if err != nil {
		return err
	}
	var body []byte
	if c.body {
		if body, err = o.store.Body(ctx, e.ID); err != nil {
			return err
		}
	}
	if c.json {
		detail := eventDetail{eventJSON: eventOf(e), Deliveries: []deliveryJSON{}, Body: body}
		for i := range deliveries {
			detail.Deliveries = append(detail.Deliveries, deliveryOf(&deliveries[i]))
		}
		return writeObject(o.out, detail)
	}
	w := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
	tenant := e.Tenant
	if tenant == "" {
		tenant = "unknown: it goes to nobody"
	}
	fmt.Fprintf(w, "event\t%d\nname\t%s\nwebhook-id\t%s\ntenant\t%s\nresource\t%s\noccurred\t%s\nlsn\t%s\n", e.ID, e.Name, e.WebhookID, tenant, orDash(e.Resource),
		e.Occurred.Format(time.RFC3339Nano), e.LSN)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nwebhook\tstate\tattempts\tlast\tdue")
	for i := range deliveries {
		d := &deliveries[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", labelOf(d), d.State, d.Attempts, outcomeOf(d.Class, d.Status), clock(d.Due))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(deliveries) == 0 {
		fmt.Fprintln(o.out, "none")
	}
	if c.body && len(body) == 0 {
		fmt.Fprintln(o.out, "\nthe event has no body: it would be larger than outbox.max_body")
	}
	return writeBody(o.out, body)
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

// tailFilter is the filter of tail, and how many events it begins back.
func (c *eventsCommandLine) tailFilter() (outbox.EventFilter, int, error) {
	last := c.since.last
	options := c.filterFlags
	options.since.last = 0
	f, err := options.filter()
	return f, last, err
}

const (
	// tailPoll is how often the log is looked at: an index lookup that finds nothing.
	tailPoll = 200 * time.Millisecond
	// tailSlice is how many events are read at a time.
	tailSlice = 500
)

// tail follows the log. Events are numbered in the order of their commits by one writer, so that none appears behind one that
// was seen.
func (c *eventsCommandLine) tail(ctx context.Context, o *opened, _ []string) error {
	f, last, err := c.tailFilter()
	if err != nil {
		return err
	}
	var after int64
	if f.Since.IsZero() {
		if after, err = c.tailStart(ctx, o.out, o.store, f, last); err != nil {
			return err
		}
	}
	tick := time.NewTicker(tailPoll)
	defer tick.Stop()
	for {
		position, err := o.store.Position(ctx)
		var events []outbox.Event
		if err == nil {
			events, err = o.store.EventsAfter(ctx, f, after, tailSlice)
		}
		if ctx.Err() != nil {
			return nil // interrupted, as it is meant to be
		}
		if err != nil {
			return err
		}
		for i := range events {
			if err := c.line(o.out, &events[i]); err != nil {
				return err
			}
			after = events[i].ID
		}
		if len(events) == tailSlice {
			continue
		}
		after = max(after, position.LastEvent) // what the filter has left out is not looked at again
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tailStart shows the last events, and returns the place in the log to go on from.
func (c *eventsCommandLine) tailStart(ctx context.Context, out io.Writer, store *outbox.Store, f outbox.EventFilter, last int) (int64, error) {
	position, err := store.Position(ctx)
	if err != nil || last == 0 {
		return position.LastEvent, err
	}
	events, err := store.Events(ctx, f, last)
	if err != nil {
		return 0, err
	}
	after := position.LastEvent
	for i := range slices.Backward(events) {
		if err := c.line(out, &events[i]); err != nil {
			return 0, err
		}
		after = max(after, events[i].ID)
	}
	return after, nil
}

func (c *eventsCommandLine) line(out io.Writer, e *outbox.Event) error {
	if c.json {
		return writeLine(out, eventOf(e))
	}
	_, err := fmt.Fprintf(out, "%d  %s  %s  tenant %s  resource %s\n", e.ID, e.Occurred.Format(time.RFC3339Nano), e.Name, orDash(e.Tenant), orDash(e.Resource))
	return err
}
