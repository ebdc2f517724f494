package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func webhooksAddCommand(env *environment) *cobra.Command {
	var d *definition
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a webhook",
		Long: `Add a webhook. Unless --secret-file or --unsigned is given, it gets a new secret, which is shown
only once. It receives the events committed from now on; iam-relay replay sends earlier ones.`,
		Example: `  iam-relay webhooks add --name crm --url https://crm.example.com/ --event 'user.*'
  iam-relay webhooks add --name erp --url-file url.txt --tenant acme`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.addWebhook(ctx, d) })
		},
	}
	d = definitionFlags(cmd)
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *session) addWebhook(ctx context.Context, d *definition) error {
	w := outbox.Webhook{Tenant: webhook.AllTenants, Events: []string{"*"}, Options: "{}", Enabled: true}
	if err := checkWebhookName(d.name); err != nil {
		return &usageError{err.Error()}
	}
	if err := d.apply(s, &w); err != nil {
		return err
	}
	if err := s.checkNameFree(ctx, &w); err != nil {
		return err
	}
	if err := s.warnUnknownTenant(ctx, w.Tenant); err != nil {
		return err
	}
	secret := ""
	if w.Secrets == nil && !d.unsigned {
		secret = newSecret()
		w.SetSecrets(time.Now(), secret)
	}
	if err := s.store.AddWebhook(ctx, &w); err != nil {
		return fmt.Errorf("webhook %s: %w", w.Name, err)
	}
	return s.sayWithSecret(ctx, &w, "added", secret)
}

// checkNameFree refuses a name that another webhook has, of any origin: commands could not distinguish them.
func (s *session) checkNameFree(ctx context.Context, w *outbox.Webhook) error {
	all, err := s.store.WebhookRefs(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if other := &all[i]; other.ID != w.ID && !other.Removed && other.Name == w.Name {
			return fmt.Errorf("webhook %s: %s:%s has that name; choose another one", visible(w.Name), other.Origin, other.Key)
		}
	}
	return nil
}

func webhooksUpdateCommand(env *environment) *cobra.Command {
	var d *definition
	var dryRun bool
	cmd := env.webhookCommand(&cobra.Command{
		Use:   "update",
		Short: "Change a webhook that was added by command",
		Long: `Change what the flags give of a webhook that was added by command. A change of the tenant makes it a
new webhook: its undelivered events are dropped.`,
		Example: `  iam-relay webhooks update crm --event 'user.*' --event role.assigned
  iam-relay webhooks update crm --schedule 5s,1m,10m`,
	}, func(ctx context.Context, s *session, which string) error {
		return s.updateWebhook(ctx, which, d, dryRun)
	})
	d = definitionFlags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check the flags and print the effect, and change nothing")
	return cmd
}

func (s *session) updateWebhook(ctx context.Context, which string, d *definition, dryRun bool) error {
	w, err := s.findOwn(ctx, which)
	if err != nil {
		return err
	}
	if !d.any() {
		return &usageError{"nothing to change; see iam-relay webhooks update --help for the flags"}
	}
	if d.given("unsigned") && !d.unsigned && len(w.Secrets) == 0 {
		return &usageError{"the webhook has no secret; make one with iam-relay webhooks rotate"}
	}
	trial := *w // before anything is locked
	if err := d.apply(s, &trial); err != nil {
		return err
	}
	if d.given("name") {
		if err := s.checkNameFree(ctx, &trial); err != nil {
			return err
		}
	}
	if d.given("tenant") {
		if err := s.warnUnknownTenant(ctx, trial.Tenant); err != nil {
			return err
		}
	}
	done := "changed"
	if w.DisabledReason != "" && !w.DisabledManually() {
		done = "changed, and enabled again"
	}
	if trial.Tenant != w.Tenant {
		done += fmt.Sprintf("; with another tenant it is a new webhook: deliveries that webhook %d was waiting for are dropped", w.ID)
	}
	if dryRun {
		return s.sayDryRun(w, done)
	}
	return s.changeWebhook(ctx, w, done, func(now *outbox.Webhook) error {
		if !now.DisabledManually() { // as a change of any other definition enables a webhook that the relay has disabled
			now.Enabled, now.DisabledReason = true, ""
		}
		return d.apply(s, now)
	})
}

// linesOf reads the non-empty lines of a file; there is at least one.
func linesOf(option, path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", option, err)
	}
	if string(text) != strings.ToValidUTF8(string(text), "") {
		return nil, fmt.Errorf("--%s: %s is not UTF-8", option, path)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return nil, fmt.Errorf("--%s: %s is empty", option, path)
	}
	return lines, nil
}
