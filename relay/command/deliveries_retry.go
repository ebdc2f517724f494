package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

type retryFlags struct {
	webhook, class  string
	allDead, dryRun bool
}

func deliveriesRetryCommand(env *environment) *cobra.Command {
	var f retryFlags
	cmd := &cobra.Command{
		Use:   "retry [EVENT]",
		Short: "Retry failed deliveries now",
		Long: `Retry the failed delivery of an event to a webhook now, and start its retry schedule again; or, with
--all-dead, do so for all dead deliveries. A running relay sends them.`,
		Example: `  iam-relay deliveries retry 4711 --webhook crm
  iam-relay deliveries retry --all-dead --class timeout`,
		Args: optionalArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.retry(ctx, &f, args) })
		},
	}
	cmd.Flags().StringVar(&f.webhook, "webhook", "", "only deliveries to this `WEBHOOK`, by name, key or number")
	cmd.Flags().BoolVar(&f.allDead, "all-dead", false, "retry all dead deliveries")
	cmd.Flags().StringVar(&f.class, "class", "", "with --all-dead: only those whose last attempt was of this `CLASS`, such as http_5xx")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print how many deliveries would be retried, and change nothing")
	env.jsonFlag(cmd, "print JSON")
	completeWords(cmd, "class", classNames())
	return cmd
}

func (f *retryFlags) check(args []string) error {
	switch {
	case len(args) == 1 && (f.allDead || f.class != ""):
		return &usageError{"give either one EVENT or --all-dead"}
	case len(args) == 0 && !f.allDead:
		return &usageError{"nothing to retry: give an EVENT with --webhook, or --all-dead"}
	case len(args) == 0:
		return checkClass(f.class)
	case f.webhook == "":
		return &usageError{"no webhook given: name it with --webhook"}
	}
	_, err := eventNamed(args[0])
	return err
}

func (s *session) retry(ctx context.Context, flags *retryFlags, args []string) error {
	webhookID, err := s.webhookNumber(ctx, flags.webhook)
	if err != nil {
		return err
	}
	f := outbox.RetryFilter{Webhook: webhookID, Class: flags.class, DeadOnly: flags.allDead}
	if len(args) == 1 {
		e, err := findEvent(ctx, s.store, args[0])
		if err != nil {
			return err
		}
		f.Event = e.ID
	}
	act := s.store.Retry
	if flags.dryRun {
		act = s.store.Retryable
	}
	n, err := act(ctx, f)
	switch {
	case err != nil:
		return err
	case n == 0 && f.Event != 0:
		return s.notRetrying(ctx, f.Event, webhookID, flags.webhook)
	case s.json:
		return writeLine(s.out, map[string]any{"due": n, "dry_run": flags.dryRun})
	case flags.dryRun:
		s.say("%s would be due now", count(n, "delivery"))
		return nil
	case n == 1:
		s.say("1 delivery is due now")
	default:
		s.say("%d deliveries are due now", n)
	}
	return s.warnNotSending(ctx, webhookID)
}

// warnNotSending warns that the relay does not deliver to a webhook at present, so that nothing becomes of a retry.
func (s *session) warnNotSending(ctx context.Context, webhookID int64) error {
	if webhookID == 0 {
		return nil
	}
	states, err := readWebhookStates(ctx, s.cfg, s.store)
	if err != nil {
		return err
	}
	if reason := states.waits(webhookID); reason != "" {
		s.warn("%s", reason)
	}
	return nil
}

// notRetrying is the reason why an event has no failed delivery to a webhook.
func (s *session) notRetrying(ctx context.Context, event, webhookID int64, name string) error {
	all, err := s.store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: event}, Webhook: webhookID}, 1)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("event %d was not for webhook %s; iam-relay replay sends it nevertheless if the webhook is of the event's tenant", event, name)
	}
	if all[0].State == outbox.DeliveryPending {
		return fmt.Errorf("event %d is pending: it has not been attempted for webhook %s yet; see the state of the webhook with iam-relay webhooks show %d", event, name, webhookID)
	}
	return fmt.Errorf("event %d is not being retried for webhook %s: it is %s; send it again with iam-relay replay %d --webhook %d", event, name, all[0].State, event, webhookID)
}

func deliveriesSkipCommand(env *environment) *cobra.Command {
	var name string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "skip EVENT",
		Short: "Give up a failed delivery",
		Long: `Give up the failed delivery of an event to a webhook, so that the deliveries waiting behind it
continue.`,
		Example: "  iam-relay deliveries skip 4711 --webhook crm",
		Args:    oneArgument("EVENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				return &usageError{"no webhook given: name it with --webhook"}
			}
			if _, err := eventNamed(args[0]); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.skip(ctx, args[0], name, dryRun) })
		},
	}
	cmd.Flags().StringVar(&name, "webhook", "", "the `WEBHOOK`, by name, key or number (required)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check that there is a failed delivery, and change nothing")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *session) skip(ctx context.Context, which, name string, dryRun bool) error {
	webhookID, err := s.webhookNumber(ctx, name)
	if err != nil {
		return err
	}
	f, err := eventNamed(which)
	if err != nil {
		return err
	}
	if f.ID == 0 { // a number is enough: the event may be past retention
		e, err := findEvent(ctx, s.store, which)
		if err != nil {
			return err
		}
		f.ID = e.ID
	}
	var skipped bool
	verb := "skipped"
	if dryRun {
		verb = "would skip"
		skipped, err = s.isFailed(ctx, f.ID, webhookID)
	} else {
		skipped, err = s.store.Skip(ctx, f.ID, webhookID)
	}
	switch {
	case err != nil:
		return err
	case !skipped:
		return s.notRetrying(ctx, f.ID, webhookID, name)
	case s.json:
		return writeLine(s.out, map[string]any{"skipped": 1, "dry_run": dryRun})
	}
	s.say("%s event %d for webhook %s", verb, f.ID, name)
	return nil
}

// isFailed reports whether an event has a failed delivery to a webhook, retrying or dead.
func (s *session) isFailed(ctx context.Context, event, webhookID int64) (bool, error) {
	all, err := s.store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: event}, Webhook: webhookID}, 1)
	return len(all) == 1 && (all[0].State == outbox.DeliveryRetrying || all[0].State == outbox.DeliveryDead), err
}
