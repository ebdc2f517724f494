package command

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// The states of a webhook.
const (
	stateLive       = "live"
	stateCatchingUp = "catching up"
	statePaused     = "paused"
	stateInvalid    = "invalid" // nothing can be sent to it
	stateDisabled   = "disabled"
	stateOff        = "off" // by its definition
	stateRemoved    = "removed"
)

// webhookEntry is the state of a webhook. Its JSON is for scripts: fields are added, not renamed.
type webhookEntry struct {
	ID         int64  `json:"id"`
	Origin     string `json:"origin"`
	Key        string `json:"key"`
	Name       string `json:"name"`
	Tenant     string `json:"tenant"`                // key or name, as its definition has it; * is all
	TenantName string `json:"tenant_name,omitempty"` // of a key
	// URL is its scheme and host; what follows may be a secret.
	URL   string `json:"url"`
	State string `json:"state"`
	// DisabledReason is the reason why the relay or an operator has disabled it.
	DisabledReason string `json:"disabled_reason,omitempty"`
	// InvalidReason is why nothing can be sent to it, and where to correct that.
	InvalidReason string     `json:"invalid_reason,omitempty"`
	FailingSince  *time.Time `json:"failing_since,omitempty"`
	PausedUntil   *time.Time `json:"paused_until,omitempty"`
	// Behind is how many events of the outbox it has yet to read; they need not all be for it.
	Behind   int64 `json:"behind"`
	Retrying int   `json:"retrying"` // failed deliveries that are tried again
	Dead     int   `json:"dead"`     // failed deliveries that were given up
}

// webhookDetail is the definition and state of a webhook, without its secrets.
type webhookDetail struct {
	webhookEntry
	Description string          `json:"description"`
	Headers     []string        `json:"headers"` // names
	Events      []string        `json:"events"`
	Secrets     int             `json:"secrets"` // that sign now; 0: unsigned
	Options     json.RawMessage `json:"options"`
	Created     time.Time       `json:"created"`
	Changed     time.Time       `json:"changed"`
	// Secret is a new secret, which is shown only once.
	Secret string `json:"secret,omitempty"`
}

// webhookStates is what the outbox stores about the webhooks.
type webhookStates struct {
	webhooks  []outbox.Webhook
	names     tenantNames
	failed    map[int64]outbox.RetryCount
	lastEvent int64
	now       time.Time
	invalid   map[int64]string // why nothing can be sent to a webhook
}

func readWebhookStates(ctx context.Context, cfg *config.Config, store *outbox.Store) (*webhookStates, error) {
	s := &webhookStates{now: time.Now()}
	position, err := store.Position(ctx)
	if err != nil {
		return nil, err
	}
	s.lastEvent = position.LastEvent
	if s.webhooks, err = store.LoadWebhooks(ctx); err != nil {
		return nil, err
	}
	var tenants []string
	for i := range s.webhooks {
		tenants = append(tenants, s.webhooks[i].Tenant)
	}
	if s.names, err = readTenantNames(ctx, cfg, store, tenants); err != nil {
		return nil, err
	}
	if s.failed, err = store.RetryCounts(ctx); err != nil {
		return nil, err
	}
	s.findInvalid(cfg)
	return s, nil
}

// entries has one for each webhook; it is never nil, for JSON.
func (s *webhookStates) entries() []webhookEntry {
	entries := make([]webhookEntry, len(s.webhooks))
	for i := range s.webhooks {
		entries[i] = s.entry(&s.webhooks[i])
	}
	return entries
}

func (s *webhookStates) entry(w *outbox.Webhook) webhookEntry {
	e := webhookEntry{
		ID: w.ID, Origin: w.Origin, Key: w.Key, Name: nameOf(w), Tenant: w.Tenant, TenantName: s.names[w.Tenant], URL: config.URL(w.URL).String(), State: stateLive,
		DisabledReason: w.DisabledReason, FailingSince: timeOrNil(w.FailingSince), Retrying: s.failed[w.ID].Waiting, Dead: s.failed[w.ID].Dead,
	}
	if w.Cursor != nil {
		e.State, e.Behind = stateCatchingUp, s.lastEvent-*w.Cursor
	}
	if w.PausedUntil.After(s.now) {
		e.State, e.PausedUntil = statePaused, timeOrNil(w.PausedUntil)
	}
	if e.InvalidReason = s.invalid[w.ID]; e.InvalidReason != "" {
		e.State = stateInvalid
	}
	switch {
	case w.RemovedAfter != nil:
		e.State = stateRemoved
	case !w.SwitchedOn():
		e.State = stateOff
	case !w.Enabled:
		e.State = stateDisabled
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

// tenantText is the tenant by its name, if that is known.
func (e *webhookEntry) tenantText() string { return visible(cmp.Or(e.TenantName, e.Tenant)) }

// stateText is the state with its reason.
func (e *webhookEntry) stateText() string {
	reason := e.DisabledReason
	if e.State == stateInvalid {
		reason = e.InvalidReason
	}
	if reason == "" {
		return e.State
	}
	return e.State + " (" + visible(reason) + ")"
}

func webhooksListCommand(env *environment) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List webhooks and their state",
		Long:    "List the webhooks of all origins and their state. Removed ones are listed with --all.",
		Example: "  iam-relay webhooks list --all",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.listWebhooks(ctx, all) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also list removed webhooks")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *session) listWebhooks(ctx context.Context, all bool) error {
	states, err := readWebhookStates(ctx, s.cfg, s.store)
	if err != nil {
		return err
	}
	entries := states.entries()
	if !all {
		entries = slices.DeleteFunc(entries, func(e webhookEntry) bool { return e.State == stateRemoved })
	}
	if s.json {
		return writeObject(s.out, entries)
	}
	if len(entries) == 0 {
		s.say("no webhooks")
		return nil
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "webhook\torigin:key\ttenant\turl\tstate\tfailing since\tpaused until\tbehind\tretrying\tdead")
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(table, "%s\t%s:%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", visible(e.Name), e.Origin, e.Key, e.tenantText(), visible(e.URL), e.stateText(),
			timeTextOrDash(e.FailingSince), timeTextOrDash(e.PausedUntil), e.Behind, e.Retrying, e.Dead)
	}
	return table.Flush()
}

// waits is the reason why the relay does not deliver to a webhook at present, or "".
func (s *webhookStates) waits(id int64) string {
	for i := range s.webhooks {
		if s.webhooks[i].ID != id {
			continue
		}
		e := s.entry(&s.webhooks[i])
		switch e.State {
		case statePaused:
			return fmt.Sprintf("webhook %s is paused until %s after repeated failures; resume it with iam-relay webhooks enable", visible(e.Name), timeTextOrDash(e.PausedUntil))
		case stateInvalid:
			return fmt.Sprintf("webhook %s is %s", visible(e.Name), e.stateText())
		case stateDisabled, stateOff:
			return fmt.Sprintf("webhook %s is %s; its deliveries wait until it is enabled", visible(e.Name), e.stateText())
		}
	}
	return ""
}
