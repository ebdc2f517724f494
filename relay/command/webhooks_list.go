package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// webhookEntry is how one webhook stands. Its JSON is for scripts: fields are added, not renamed.
type webhookEntry struct {
	ID     int64  `json:"id"`
	Origin string `json:"origin"`
	Key    string `json:"key"`
	Name   string `json:"name"`
	Tenant string `json:"tenant"`
	// URL is its scheme and host; what follows may be a secret.
	URL   string `json:"url"`
	State string `json:"state"` // live, behind, resting, disabled, off (by its definition) or removed
	// DisabledFor is why nothing is delivered, by the relay's judgement or by hand.
	DisabledFor  string     `json:"disabled_for,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty"`
	RestsUntil   *time.Time `json:"rests_until,omitempty"`
	// Behind is by how many events of the log it has yet to read by itself; they need not all be for it.
	Behind int64 `json:"behind"`
	Parked int   `json:"parked"` // failed deliveries that wait for their next attempt
	Dead   int   `json:"dead"`   // deliveries that were given up
}

// webhookDetail is all about one webhook but what must stay secret.
type webhookDetail struct {
	webhookEntry
	Description string          `json:"description"`
	Headers     []string        `json:"headers"` // names
	Events      []string        `json:"events"`
	Secrets     int             `json:"secrets"` // that sign now; 0 is unsigned
	Options     json.RawMessage `json:"options"`
	Created     time.Time       `json:"created"`
	Changed     time.Time       `json:"changed"`
	// Secret is a new one, which is shown this once.
	Secret string `json:"secret,omitempty"`
}

// webhookStates is what the outbox knows of the webhooks.
type webhookStates struct {
	webhooks  []outbox.Webhook
	parked    map[int64]outbox.ParkedCount
	lastEvent int64
	now       time.Time
}

func readWebhookStates(ctx context.Context, store *outbox.Store) (*webhookStates, error) {
	s := &webhookStates{now: time.Now()}
	position, err := store.Position(ctx)
	if err != nil {
		return nil, err
	}
	s.lastEvent = position.LastEvent
	if s.webhooks, err = store.LoadWebhooks(ctx); err != nil {
		return nil, err
	}
	s.parked, err = store.ParkedCounts(ctx)
	return s, err
}

// entries are those of all webhooks; never nil, for JSON.
func (s *webhookStates) entries() []webhookEntry {
	entries := make([]webhookEntry, len(s.webhooks))
	for i := range s.webhooks {
		entries[i] = s.entry(&s.webhooks[i])
	}
	return entries
}

func (s *webhookStates) entry(w *outbox.Webhook) webhookEntry {
	e := webhookEntry{
		ID: w.ID, Origin: w.Origin, Key: w.Key, Name: nameOf(w), Tenant: w.Tenant, URL: config.URL(w.URL).String(), State: "live",
		DisabledFor: w.DisabledFor, FailingSince: known(w.FailingSince), Parked: s.parked[w.ID].Waiting, Dead: s.parked[w.ID].Dead,
	}
	if w.Cursor != nil {
		e.State, e.Behind = "behind", s.lastEvent-*w.Cursor
	}
	if w.RestUntil.After(s.now) {
		e.State, e.RestsUntil = "resting", known(w.RestUntil)
	}
	switch {
	case w.RemovedAfter != nil:
		e.State = "removed"
	case !w.SwitchedOn():
		e.State = "off"
	case !w.Enabled:
		e.State = "disabled"
	}
	return e
}

func (s *webhookStates) detail(w *outbox.Webhook) webhookDetail {
	return webhookDetail{
		webhookEntry: s.entry(w), Description: w.Description, Headers: append([]string{}, slices.Sorted(maps.Keys(w.Headers))...),
		Events: append([]string{}, w.Events...), Secrets: len(w.ValidSecrets(s.now)), Options: json.RawMessage(w.Options),
		Created: w.Created.UTC(), Changed: w.Changed.UTC(),
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// instant writes a time, or a dash for none.
func instant(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// stateText is the state with its reason.
func (e *webhookEntry) stateText() string {
	if e.DisabledFor == "" {
		return e.State
	}
	return e.State + " (" + visible(e.DisabledFor) + ")"
}

func webhooksList(*flag.FlagSet) func(context.Context, *webhooks, []string) error {
	return func(ctx context.Context, w *webhooks, _ []string) error {
		s, err := readWebhookStates(ctx, w.store)
		if err != nil {
			return err
		}
		entries := s.entries()
		if w.json {
			return writeObject(w.env.out, entries)
		}
		if len(entries) == 0 {
			fmt.Fprintln(w.env.out, "there are no webhooks")
			return nil
		}
		table := tabwriter.NewWriter(w.env.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "webhook\torigin:key\ttenant\tstate\tfailing since\trests until\tbehind\tparked\tdead")
		for i := range entries {
			e := &entries[i]
			fmt.Fprintf(table, "%s\t%s:%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", visible(e.Name), e.Origin, e.Key, visible(e.Tenant), e.stateText(),
				instant(e.FailingSince), instant(e.RestsUntil), e.Behind, e.Parked, e.Dead)
		}
		return table.Flush()
	}
}

func webhooksShow(*flag.FlagSet) func(context.Context, *webhooks, []string) error {
	return func(ctx context.Context, w *webhooks, args []string) error {
		one, err := w.find(ctx, args[0])
		if err != nil {
			return err
		}
		if w.json {
			return w.writeDetail(ctx, one, "")
		}
		s, err := readWebhookStates(ctx, w.store)
		if err != nil {
			return err
		}
		d := s.detail(one)
		table := tabwriter.NewWriter(w.env.out, 0, 0, 2, ' ', 0)
		line := func(name, value string) {
			if value != "" {
				fmt.Fprintf(table, "%s\t%s\n", name, visible(value))
			}
		}
		line("name", d.Name)
		line("description", d.Description)
		line("origin:key", address(one))
		line("id", fmt.Sprint(d.ID))
		line("tenant", d.Tenant)
		line("url", d.URL)
		line("headers", strings.Join(d.Headers, ", "))
		line("events", strings.Join(d.Events, ", "))
		line("signed", signedText(one, s.now))
		if len(d.Options) > len("{}") {
			line("options", string(d.Options))
		}
		line("state", d.stateText())
		line("failing since", instant(d.FailingSince))
		line("rests until", instant(d.RestsUntil))
		line("deliveries", fmt.Sprintf("behind by %d, %d parked, %d dead", d.Behind, d.Parked, d.Dead))
		line("created", d.Created.Format(time.RFC3339))
		line("changed", d.Changed.Format(time.RFC3339))
		return table.Flush()
	}
}

func signedText(w *outbox.Webhook, now time.Time) string {
	n := len(w.ValidSecrets(now))
	if n == 0 {
		return "no"
	}
	text := fmt.Sprintf("with %d secrets", n)
	if n == 1 {
		text = "with 1 secret"
	}
	if next := w.NextExpiry(now); !next.IsZero() {
		text += ", the next ends at " + next.UTC().Format(time.RFC3339)
	}
	return text
}
