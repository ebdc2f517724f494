package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// deliveryJSON is a delivery for scripts: fields are added, not renamed.
type deliveryJSON struct {
	Event     int64                `json:"event"`
	WebhookID string               `json:"webhook_id"`
	Name      string               `json:"name"`
	Tenant    string               `json:"tenant"`
	Resource  string               `json:"resource"`
	Occurred  *time.Time           `json:"occurred"` // null if retention has dropped the event
	Webhook   int64                `json:"webhook"`
	Label     string               `json:"webhook_name"`
	State     outbox.DeliveryState `json:"state"`
	Attempts  int                  `json:"attempts"`
	Due       *time.Time           `json:"due"` // of the next attempt
	Class     string               `json:"class,omitempty"`
	Status    int                  `json:"status,omitempty"`
}

func deliveryOf(d *outbox.DeliveryStatus) deliveryJSON {
	return deliveryJSON{
		Event: d.ID, WebhookID: d.WebhookID, Name: d.Name, Tenant: d.Tenant, Resource: d.Resource, Occurred: timeOrNil(d.Occurred),
		Webhook: d.Webhook, Label: d.Label, State: d.State, Attempts: d.Attempts, Due: timeOrNil(d.Due), Class: d.Class, Status: d.Status,
	}
}

// attemptJSON is an attempt for scripts. Times are in microseconds; a phase that there was not is left out.
type attemptJSON struct {
	Number    int       `json:"number"`
	At        time.Time `json:"at"`
	Micros    int64     `json:"micros"`
	DNS       *int64    `json:"dns_micros,omitempty"`
	Connect   *int64    `json:"connect_micros,omitempty"`
	TLS       *int64    `json:"tls_micros,omitempty"`
	FirstByte *int64    `json:"first_byte_micros,omitempty"`
	Class     string    `json:"class"`
	Status    int       `json:"status,omitempty"`
	Error     string    `json:"error,omitempty"`
	Response  string    `json:"response,omitempty"` // the first bytes of a bad answer
}

func attemptOf(a *outbox.Attempt) attemptJSON {
	return attemptJSON{
		Number: a.Number, At: a.At, Micros: a.Duration.Microseconds(), DNS: micros(a.Phases.DNS), Connect: micros(a.Phases.Connect), TLS: micros(a.Phases.TLS),
		FirstByte: micros(a.Phases.FirstByte), Class: a.Class, Status: a.Status, Error: a.Error, Response: a.Response,
	}
}

func micros(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	n := d.Microseconds()
	return &n
}

// deliveryDetail is a delivery with its history.
type deliveryDetail struct {
	deliveryJSON
	// Left is how many attempts follow if all fail.
	Left    int           `json:"attempts_left"`
	URL     string        `json:"url"` // scheme and host
	History []attemptJSON `json:"history"`
}

type deliveriesCommandLine struct {
	filterFlags
	state, webhook, event, class string
	limit                        limit
	allDead, json                bool
}

func deliveriesCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	var c deliveriesCommandLine
	path := configFlag(flags)
	flags.StringVar(&c.state, "state", "", "only deliveries in this `STATE`: "+strings.Join(states(), ", "))
	flags.StringVar(&c.webhook, "webhook", "", "only those to this `WEBHOOK`, by name, key or number")
	flags.StringVar(&c.event, "event", "", "only those of this `EVENT`: its number, its webhook-id evt_…, or a pattern of names as user.*")
	c.declare(flags)
	flags.BoolVar(&c.allDead, "all-dead", false, "retry all dead deliveries")
	flags.StringVar(&c.class, "class", "", "only those whose last attempt was of this `CLASS`, as http_5xx")
	flags.BoolVar(&c.json, "json", false, "write JSON: list writes a line for each delivery, show an array")
	c.limit.declare(flags)
	return verbs(flags, path, []verb{
		{
			name: "list", summary: "list deliveries, those of the newest events first",
			options: []string{"state", "webhook", "event", "tenant", "resource", "since", "until", "limit"}, check: c.checkList, run: c.list,
		},
		{
			name: "show", arguments: "EVENT", least: 1, most: 1, options: []string{"webhook"},
			summary: "show each attempt to deliver an event", check: oneEvent, run: c.show,
		},
		{
			name: "retry", arguments: "[EVENT]", most: 1, options: []string{"webhook", "all-dead", "class"},
			summary: "make a parked or dead delivery due now, with all its attempts before it; or all dead ones", check: c.checkRetry, run: c.retry,
		},
		{
			name: "skip", arguments: "EVENT", least: 1, most: 1, options: []string{"webhook"},
			summary: "give a parked delivery up, so that what waits behind it goes on", check: c.checkSkip, run: c.skip,
		},
	})
}

// states are those that --state takes.
func states() []string {
	var texts []string
	for _, s := range outbox.DeliveryStates() {
		texts = append(texts, string(s))
	}
	return texts
}

func (c *deliveriesCommandLine) checkList([]string) error {
	if c.state != "" && !slices.Contains(states(), c.state) {
		return &usageError{fmt.Sprintf("--state is one of %s", strings.Join(states(), ", "))}
	}
	if _, err := c.eventFilter(); err != nil {
		return err
	}
	return c.limit.check(nil)
}

func oneEvent(args []string) error {
	_, err := eventNamed(args[0])
	return err
}

// eventFilter adds --event, which names one or gives a pattern.
func (c *deliveriesCommandLine) eventFilter() (outbox.EventFilter, error) {
	if one, err := eventNamed(c.event); err == nil {
		f, err := c.filter()
		f.ID, f.WebhookID = one.ID, one.WebhookID
		return f, err
	}
	c.name = c.event
	return c.filter()
}

// webhookID resolves --webhook; 0 if it was not given.
func (c *deliveriesCommandLine) webhookID(ctx context.Context, store *outbox.Store) (int64, error) {
	if c.webhook == "" {
		return 0, nil
	}
	w, err := findWebhook(ctx, store, c.webhook)
	if err != nil {
		return 0, err
	}
	return w.ID, nil
}

func (c *deliveriesCommandLine) list(ctx context.Context, o *opened, _ []string) error {
	f := outbox.DeliveryFilter{State: outbox.DeliveryState(c.state)}
	var err error
	if f.EventFilter, err = c.eventFilter(); err != nil {
		return err
	}
	if f.Webhook, err = c.webhookID(ctx, o.store); err != nil {
		return err
	}
	if f.WebhookID != "" { // its number finds it faster
		e, err := findEvent(ctx, o.store, f.WebhookID)
		if err != nil {
			return err
		}
		f.ID = e.ID
	}
	all, err := o.store.Deliveries(ctx, f, int(c.limit))
	if err != nil {
		return err
	}
	if !c.json {
		return writeDeliveries(o.out, all)
	}
	for i := range all {
		if err := writeLine(o.out, deliveryOf(&all[i])); err != nil {
			return err
		}
	}
	return nil
}

func writeDeliveries(out io.Writer, all []outbox.DeliveryStatus) error {
	if len(all) == 0 {
		fmt.Fprintln(out, "no deliveries")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "event\tname\tresource\toccurred\twebhook\tstate\tattempts\tlast\tdue")
	for i := range all {
		d := &all[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", d.ID, orDash(d.Name), orDash(d.Resource), clock(d.Occurred), labelOf(d), d.State, d.Attempts,
			outcomeOf(d.Class, d.Status), clock(d.Due))
	}
	return w.Flush()
}

func labelOf(d *outbox.DeliveryStatus) string {
	if d.Label == "" {
		return fmt.Sprintf("#%d", d.Webhook)
	}
	return fmt.Sprintf("%s#%d", visible(d.Label), d.Webhook)
}

func outcomeOf(class string, status int) string {
	if status == 0 {
		return orDash(class)
	}
	return fmt.Sprintf("%s (%d)", class, status)
}
