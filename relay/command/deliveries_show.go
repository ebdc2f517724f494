package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// attemptJSON is an attempt for scripts. Times are in microseconds; phases that did not happen are left out.
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
	Response  string    `json:"response,omitempty"` // the first bytes of the response of a failed attempt
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

// deliveryDetail is a delivery with its attempts.
type deliveryDetail struct {
	deliveryJSON
	// Left is how many attempts follow if all fail.
	Left int    `json:"attempts_left"`
	URL  string `json:"url"` // scheme and host
	// Waits is the reason why the relay does not deliver to the webhook at present.
	Waits   string        `json:"waits,omitempty"`
	History []attemptJSON `json:"history"`
}

func deliveriesShowCommand(env *environment) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "show EVENT",
		Short:   "Show each attempt to deliver an event",
		Long:    "Show each attempt to deliver an event: its outcome, where the time went, and what the endpoint answered.",
		Example: "  iam-relay deliveries show 4711 --webhook crm",
		Args:    oneArgument("EVENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := eventNamed(args[0]); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.showDeliveries(ctx, args[0], name) })
		},
	}
	cmd.Flags().StringVar(&name, "webhook", "", "only the delivery to this `WEBHOOK`, by name, key or number")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *session) showDeliveries(ctx context.Context, which, name string) error {
	e, err := findEvent(ctx, s.store, which)
	if err != nil {
		return err
	}
	webhookID, err := s.webhookNumber(ctx, name)
	if err != nil {
		return err
	}
	details, err := s.readDetails(ctx, e, webhookID)
	if err != nil {
		return err
	}
	if s.json {
		return writeObject(s.out, details)
	}
	fmt.Fprintf(s.out, "event %d, %s, %s, of %s\n", e.ID, e.Name, e.WebhookID, timeText(e.Occurred))
	if len(details) == 0 {
		fmt.Fprintln(s.out, "no deliveries")
	}
	for i := range details {
		if err := details[i].write(s.out); err != nil {
			return err
		}
	}
	return nil
}

// readDetails reads the deliveries of an event with their attempts.
func (s *session) readDetails(ctx context.Context, e *outbox.Event, webhookID int64) ([]deliveryDetail, error) {
	names, err := s.namesOf(ctx, []outbox.Event{*e})
	if err != nil {
		return nil, err
	}
	all, err := s.store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: e.ID}, Webhook: webhookID}, maxLimit)
	if err != nil {
		return nil, err
	}
	attempts, err := s.store.Attempts(ctx, e.ID, webhookID)
	if err != nil {
		return nil, err
	}
	states, err := readWebhookStates(ctx, s.cfg, s.store)
	if err != nil {
		return nil, err
	}
	refs, err := s.store.WebhookRefs(ctx)
	if err != nil {
		return nil, err
	}
	details := make([]deliveryDetail, len(all))
	for i := range all {
		d := &details[i]
		d.deliveryJSON, d.History = deliveryOf(&all[i], names), []attemptJSON{}
		for j := range attempts {
			if attempts[j].Webhook == d.Webhook {
				d.History = append(d.History, attemptOf(&attempts[j]))
			}
		}
		if k := slices.IndexFunc(refs, func(w outbox.WebhookRef) bool { return w.ID == d.Webhook }); k >= 0 {
			d.URL = schemeAndHost(refs[k].URL)
			if d.State == outbox.DeliveryPending || d.State == outbox.DeliveryRetrying {
				d.Waits = states.waits(d.Webhook)
				d.Left = max(0, scheduleOf(s.cfg, &refs[k]).Attempts()-d.Attempts)
			}
		}
	}
	return details, nil
}

// scheduleOf is the webhook's retry schedule, or that of the configuration.
func scheduleOf(cfg *config.Config, w *outbox.WebhookRef) webhook.Schedule {
	schedule := cfg.Delivery.RetrySchedule()
	if options, err := webhook.ParseOptions(w.Options); err == nil && options.Schedule != nil {
		schedule.Delays = options.Schedule
	}
	return schedule
}

func (d *deliveryDetail) write(out io.Writer) error {
	fmt.Fprintf(out, "\n%s#%d  %s: %s", visible(d.Label), d.Webhook, d.URL, d.State)
	if d.Due != nil {
		fmt.Fprintf(out, ", due %s", timeText(*d.Due))
	}
	if d.State == outbox.DeliveryPending || d.State == outbox.DeliveryRetrying {
		fmt.Fprintf(out, ", %d attempts left", d.Left)
	}
	fmt.Fprintln(out)
	if d.Waits != "" {
		fmt.Fprintf(out, "  waits: %s\n", d.Waits)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range d.History {
		a := &d.History[i]
		fmt.Fprintf(w, "  %d\t%s\t%s\t%s\t%s\n", a.Number, a.At.Format(time.RFC3339Nano), outcomeText(a.Class, a.Status), phases(a), visible(a.Error))
		if a.Response != "" {
			fmt.Fprintf(w, "  \tresponse: %q\n", a.Response)
		}
	}
	return w.Flush()
}

// phases is the duration of an attempt, in total and by phase.
func phases(a *attemptJSON) string {
	texts := []string{(time.Duration(a.Micros) * time.Microsecond).String()}
	for _, p := range []struct {
		name   string
		micros *int64
	}{{"dns", a.DNS}, {"connect", a.Connect}, {"tls", a.TLS}, {"first byte", a.FirstByte}} {
		if p.micros != nil {
			texts = append(texts, fmt.Sprintf("%s %s", p.name, time.Duration(*p.micros)*time.Microsecond))
		}
	}
	return strings.Join(texts, ", ")
}
