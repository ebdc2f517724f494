package command

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

func webhooksShowCommand(env *environment) *cobra.Command {
	return env.webhookCommand(&cobra.Command{
		Use:     "show",
		Short:   "Show the definition and state of a webhook",
		Long:    "Show the definition and state of a webhook, without its secrets.",
		Example: "  iam-relay webhooks show crm",
	}, func(ctx context.Context, s *session, which string) error { return s.showWebhook(ctx, which) })
}

func (s *session) showWebhook(ctx context.Context, which string) error {
	w, err := s.findDefinition(ctx, which)
	if err != nil {
		return err
	}
	if s.json {
		return s.writeWebhook(ctx, w, "")
	}
	states, err := readWebhookStates(ctx, s.cfg, s.store)
	if err != nil {
		return err
	}
	d := states.detail(w)
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, visible(value))
		}
	}
	line("name", d.Name)
	line("description", d.Description)
	line("origin:key", address(w))
	line("id", fmt.Sprint(d.ID))
	line("tenant", d.tenantText())
	line("url", d.URL)
	line("headers", strings.Join(d.Headers, ", "))
	line("events", strings.Join(d.Events, ", "))
	line("signed", signedText(w, states.now))
	if len(d.Options) > len("{}") {
		line("options", string(d.Options))
	}
	line("state", d.stateText())
	line("failing since", timeTextOrDash(d.FailingSince))
	line("paused until", timeTextOrDash(d.PausedUntil))
	line("deliveries", fmt.Sprintf("behind by %d, %d retrying, %d dead", d.Behind, d.Retrying, d.Dead))
	line("created", d.Created.Format(time.RFC3339))
	line("changed", d.Changed.Format(time.RFC3339))
	return table.Flush()
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
