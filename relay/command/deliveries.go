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

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// deliveryJSON is a delivery for scripts: fields are added, not renamed.
type deliveryJSON struct {
	Event      int64                `json:"event"`
	WebhookID  string               `json:"webhook_id"`
	Name       string               `json:"name"`
	Tenant     string               `json:"tenant"`
	TenantName string               `json:"tenant_name,omitempty"`
	Resource   string               `json:"resource"`
	Occurred   *time.Time           `json:"occurred"` // null if the event is past retention
	Webhook    int64                `json:"webhook"`
	Label      string               `json:"webhook_name"`
	State      outbox.DeliveryState `json:"state"`
	Attempts   int                  `json:"attempts"`
	Due        *time.Time           `json:"due"` // of the next attempt
	Class      string               `json:"class,omitempty"`
	Status     int                  `json:"status,omitempty"`
}

func deliveryOf(d *outbox.DeliveryStatus, names tenantNames) deliveryJSON {
	return deliveryJSON{
		Event: d.ID, WebhookID: d.WebhookID, Name: d.Name, Tenant: d.Tenant, TenantName: names[d.Tenant], Resource: d.Resource, Occurred: timeOrNil(d.Occurred),
		Webhook: d.Webhook, Label: d.Label, State: d.State, Attempts: d.Attempts, Due: timeOrNil(d.Due), Class: d.Class, Status: d.Status,
	}
}

func deliveriesCommand(env *environment) *cobra.Command {
	return withDefault(&cobra.Command{
		Use:   "deliveries",
		Short: "List, show, retry and skip deliveries",
		Long: `List deliveries, those of the newest events first; show the attempts of one; retry or skip
those that failed.
` + timeHelp,
		Example: `  iam-relay deliveries --state dead --webhook crm
  iam-relay deliveries show 4711
  iam-relay deliveries retry --all-dead --webhook crm`,
	}, func() *cobra.Command { return deliveriesListCommand(env) },
		deliveriesShowCommand(env), deliveriesRetryCommand(env), deliveriesSkipCommand(env))
}

// deliveriesFlags are the flags that choose deliveries.
type deliveriesFlags struct {
	filterFlags
	state, webhook, event, class string
	limit                        limit
}

func deliveriesListCommand(env *environment) *cobra.Command {
	var f deliveriesFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List deliveries, those of the newest events first",
		Long:    "List deliveries, those of the newest events first.\n" + timeHelp,
		Example: "  iam-relay deliveries list --event 'user.*' --since 1h",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.listDeliveries(ctx, &f) })
		},
	}
	cmd.Flags().StringVar(&f.state, "state", "", "only deliveries in this `STATE`: "+strings.Join(deliveryStates(), ", "))
	cmd.Flags().StringVar(&f.webhook, "webhook", "", "only deliveries to this `WEBHOOK`, by name, key or number")
	cmd.Flags().StringVar(&f.event, "event", "", "only deliveries of this `EVENT`: its number, its webhook-id evt_…, or a pattern of names such as user.*")
	cmd.Flags().StringVar(&f.class, "class", "", "only deliveries whose last attempt was of this `CLASS`, such as http_5xx")
	f.declare(cmd)
	f.limit.declare(cmd)
	env.jsonFlag(cmd, "print JSON, one line per delivery")
	completeWords(cmd, "state", deliveryStates())
	completeWords(cmd, "class", classNames())
	return cmd
}

// deliveryStates are those that --state takes.
func deliveryStates() []string {
	var texts []string
	for _, s := range outbox.DeliveryStates() {
		texts = append(texts, string(s))
	}
	return texts
}

func (f *deliveriesFlags) check() error {
	if f.state != "" && !slices.Contains(deliveryStates(), f.state) {
		return &usageError{fmt.Sprintf("--state must be one of %s", strings.Join(deliveryStates(), ", "))}
	}
	if err := checkClass(f.class); err != nil {
		return err
	}
	if _, err := f.eventFilter(); err != nil {
		return err
	}
	return f.limit.check()
}

// eventFilter adds --event, which names one event or gives a pattern.
func (f *deliveriesFlags) eventFilter() (outbox.EventFilter, error) {
	if one, err := eventNamed(f.event); err == nil {
		e, err := f.filter()
		e.ID, e.WebhookID = one.ID, one.WebhookID
		return e, err
	}
	f.name = f.event
	return f.filter()
}

// webhookNumber resolves --webhook; 0 if it was not given.
func (s *session) webhookNumber(ctx context.Context, which string) (int64, error) {
	if which == "" {
		return 0, nil
	}
	w, err := findWebhook(ctx, s.store, which)
	if err != nil {
		return 0, err
	}
	return w.ID, nil
}

func (s *session) listDeliveries(ctx context.Context, flags *deliveriesFlags) error {
	f := outbox.DeliveryFilter{State: outbox.DeliveryState(flags.state), Class: flags.class}
	var err error
	if f.EventFilter, err = flags.eventFilter(); err != nil {
		return err
	}
	if f.Webhook, err = s.webhookNumber(ctx, flags.webhook); err != nil {
		return err
	}
	if f.WebhookID != "" { // a lookup by number is faster
		e, err := findEvent(ctx, s.store, f.WebhookID)
		if err != nil {
			return err
		}
		f.ID = e.ID
	}
	if f.Tenant, err = s.tenantKey(ctx, f.Tenant); err != nil {
		return err
	}
	all, err := s.store.Deliveries(ctx, f, int(flags.limit))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		s.warnUnknownName(f.Names)
	}
	if !s.json {
		return writeDeliveries(s.out, all)
	}
	events := make([]outbox.Event, len(all))
	for i := range all {
		events[i] = all[i].Event
	}
	names, err := s.namesOf(ctx, events)
	if err != nil {
		return err
	}
	for i := range all {
		if err := writeLine(s.out, deliveryOf(&all[i], names)); err != nil {
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
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", d.ID, orDash(d.Name), orDash(d.Resource), timeText(d.Occurred), webhookLabel(d), d.State, d.Attempts,
			outcomeText(d.Class, d.Status), timeText(d.Due))
	}
	return w.Flush()
}

// webhookLabel names the webhook of a delivery by name and number, as names can be used twice.
func webhookLabel(d *outbox.DeliveryStatus) string {
	if d.Label == "" {
		return fmt.Sprintf("#%d", d.Webhook)
	}
	return fmt.Sprintf("%s#%d", visible(d.Label), d.Webhook)
}

func outcomeText(class string, status int) string {
	if status == 0 {
		return orDash(class)
	}
	return fmt.Sprintf("%s (%d)", class, status)
}

// checkClass checks --class.
func checkClass(class string) error {
	if class != "" && !slices.Contains(classNames(), class) {
		return &usageError{fmt.Sprintf("--class: %q is not a class of outcomes; it is one of %s", class, strings.Join(classNames(), ", "))}
	}
	return nil
}

// classNames are those that --class takes.
func classNames() []string {
	var names []string
	for _, c := range webhook.Classes() {
		names = append(names, string(c))
	}
	return names
}
