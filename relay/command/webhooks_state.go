package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

func webhooksRemoveCommand(env *environment) *cobra.Command {
	var dryRun bool
	cmd := env.webhookCommand(&cobra.Command{
		Use:   "remove",
		Short: "Remove a webhook that was added by command",
		Long: `Remove a webhook that was added by command. Events committed before are still delivered to it, unless it
is disabled.`,
		Example: "  iam-relay webhooks remove crm --dry-run",
	}, func(ctx context.Context, s *session, which string) error { return s.removeWebhook(ctx, which, dryRun) })
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the effect, and change nothing")
	return cmd
}

func (s *session) removeWebhook(ctx context.Context, which string, dryRun bool) error {
	w, err := s.findOwn(ctx, which)
	if err != nil {
		return err
	}
	done := func(enabled bool) string {
		if enabled {
			return "removed; its outstanding deliveries are still sent"
		}
		return "removed; it was disabled, so its outstanding deliveries are dropped"
	}
	if dryRun {
		return s.sayDryRun(w, done(w.Enabled))
	}
	removed, err := s.store.RemoveWebhook(ctx, w.ID)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", visible(nameOf(w)), err)
	}
	return s.sayWebhook(ctx, &removed, done(removed.Enabled))
}

func webhooksDisableCommand(env *environment) *cobra.Command {
	var reason string
	cmd := env.webhookCommand(&cobra.Command{
		Use:     "disable",
		Short:   "Stop delivering to a webhook",
		Long:    "Stop delivering to a webhook of any origin. Its events wait until it is enabled again.",
		Example: "  iam-relay webhooks disable crm --reason maintenance",
	}, func(ctx context.Context, s *session, which string) error { return s.disableWebhook(ctx, which, reason) })
	cmd.Flags().StringVar(&reason, "reason", "", "a short `TEXT` that webhooks and status show")
	return cmd
}

func (s *session) disableWebhook(ctx context.Context, which, reason string) error {
	if reason != visible(reason) || len(reason) > 500 {
		return &usageError{"--reason must be up to 500 bytes of printable characters"}
	}
	w, err := s.findSwitchedOn(ctx, which)
	if err != nil {
		return err
	}
	return s.changeWebhook(ctx, w, "disabled; its events wait until it is enabled", func(now *outbox.Webhook) error {
		now.Enabled, now.DisabledReason = false, outbox.ManualReason(strings.TrimSpace(reason))
		return nil
	})
}

func webhooksEnableCommand(env *environment) *cobra.Command {
	return env.webhookCommand(&cobra.Command{
		Use:   "enable",
		Short: "Resume delivering to a webhook",
		Long: `Resume delivering to a webhook of any origin, from the event at which it was disabled. It also ends
the pause of a webhook that has failed repeatedly.`,
		Example: "  iam-relay webhooks enable crm",
	}, func(ctx context.Context, s *session, which string) error { return s.enableWebhook(ctx, which) })
}

func (s *session) enableWebhook(ctx context.Context, which string) error {
	w, err := s.findSwitchedOn(ctx, which)
	if err != nil {
		return err
	}
	done := "enabled; it continues from the event at which it was disabled"
	switch {
	case w.Enabled && (w.Pauses > 0 || !w.PausedUntil.IsZero()):
		done = "resumed; its deliveries are due now"
	case w.Enabled:
		done = "already enabled"
	}
	return s.changeWebhook(ctx, w, done, func(now *outbox.Webhook) error {
		now.Enabled, now.DisabledReason = true, ""
		now.ResumeCount++ // also ends the pause of an enabled one
		return nil
	})
}

// findSwitchedOn returns a webhook of any origin, unless its definition switches it off.
func (s *session) findSwitchedOn(ctx context.Context, which string) (*outbox.Webhook, error) {
	w, err := s.findDefinition(ctx, which)
	if err != nil {
		return nil, err
	}
	if w.RemovedAfter != nil {
		return nil, removedError(w)
	}
	if !w.SwitchedOn() {
		return nil, &usageError{fmt.Sprintf("webhook %s (%s) is switched off by the configuration: set enabled = true in its [[webhook]] in %s, and restart the relay", visible(nameOf(w)), address(w), s.path)}
	}
	return w, nil
}
