package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// show tells everything about the deliveries of one event.
func (c *deliveriesCommandLine) show(ctx context.Context, o *opened, args []string) error {
	e, err := findEvent(ctx, o.store, args[0])
	if err != nil {
		return err
	}
	webhookID, err := c.webhookID(ctx, o.store)
	if err != nil {
		return err
	}
	details, err := readDetails(ctx, o.cfg, o.store, e.ID, webhookID)
	if err != nil {
		return err
	}
	if c.json {
		return writeObject(o.out, details)
	}
	fmt.Fprintf(o.out, "event %d, %s, %s, of %s\n", e.ID, e.Name, e.WebhookID, clock(e.Occurred))
	if len(details) == 0 {
		fmt.Fprintln(o.out, "no deliveries")
	}
	for i := range details {
		if err := details[i].write(o.out); err != nil {
			return err
		}
	}
	return nil
}

// readDetails puts the deliveries of an event and their attempts together.
func readDetails(ctx context.Context, cfg *config.Config, store *outbox.Store, event, webhookID int64) ([]deliveryDetail, error) {
	all, err := store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: event}, Webhook: webhookID}, 100_000)
	if err != nil {
		return nil, err
	}
	attempts, err := store.Attempts(ctx, event, webhookID)
	if err != nil {
		return nil, err
	}
	refs, err := store.WebhookRefs(ctx)
	if err != nil {
		return nil, err
	}
	details := make([]deliveryDetail, len(all))
	for i := range all {
		d := &details[i]
		d.deliveryJSON, d.History = deliveryOf(&all[i]), []attemptJSON{}
		for j := range attempts {
			if attempts[j].Webhook == d.Webhook {
				d.History = append(d.History, attemptOf(&attempts[j]))
			}
		}
		if k := slices.IndexFunc(refs, func(w outbox.WebhookRef) bool { return w.ID == d.Webhook }); k >= 0 {
			d.URL = place(refs[k].URL)
			if d.State == outbox.DeliveryPending || d.State == outbox.DeliveryParked {
				d.Left = max(0, scheduleOf(cfg, &refs[k]).Attempts()-d.Attempts)
			}
		}
	}
	return details, nil
}

// scheduleOf is the webhook's own schedule, or else that of the configuration.
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
		fmt.Fprintf(out, ", due %s", clock(*d.Due))
	}
	if d.State == outbox.DeliveryPending || d.State == outbox.DeliveryParked {
		fmt.Fprintf(out, ", %d attempts left", d.Left)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range d.History {
		a := &d.History[i]
		fmt.Fprintf(w, "  %d\t%s\t%s\t%s\t%s\n", a.Number, a.At.Format(time.RFC3339Nano), outcomeOf(a.Class, a.Status), phases(a), visible(a.Error))
		if a.Response != "" {
			fmt.Fprintf(w, "  \tit answered: %q\n", a.Response)
		}
	}
	return w.Flush()
}

// phases says how long an attempt took, and where.
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
