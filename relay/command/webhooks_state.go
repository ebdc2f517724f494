package command

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

func webhooksRemove(*flag.FlagSet) func(context.Context, *webhooks, []string) error {
	return func(ctx context.Context, w *webhooks, args []string) error {
		one, err := w.findOwn(ctx, args[0])
		if err != nil {
			return err
		}
		removed, err := w.store.RemoveWebhook(ctx, one.ID)
		if err != nil {
			return fmt.Errorf("webhook %s: %w", visible(nameOf(one)), err)
		}
		done := "removed; what it is owed is still delivered"
		if !removed.Enabled {
			done = "removed; it was disabled, so what it was owed is dropped"
		}
		return w.say(ctx, &removed, done)
	}
}

func webhooksDisable(flags *flag.FlagSet) func(context.Context, *webhooks, []string) error {
	reason := flags.String("reason", "", "why, as a short `text`, which list and status show")
	return func(ctx context.Context, w *webhooks, args []string) error {
		if *reason != visible(*reason) || len(*reason) > 500 {
			return &usageError{"--reason must be up to 500 bytes of printable characters"}
		}
		one, err := w.findSwitchedOn(ctx, args[0])
		if err != nil {
			return err
		}
		return w.change(ctx, one, "disabled; its events are kept, and it goes on from there once it is enabled", func(now *outbox.Webhook) error {
			now.Enabled, now.DisabledFor = false, outbox.ByHand(strings.TrimSpace(*reason))
			return nil
		})
	}
}

func webhooksEnable(*flag.FlagSet) func(context.Context, *webhooks, []string) error {
	return func(ctx context.Context, w *webhooks, args []string) error {
		one, err := w.findSwitchedOn(ctx, args[0])
		if err != nil {
			return err
		}
		done := "enabled; it goes on from where it stopped"
		switch {
		case one.Enabled && (one.Rests > 0 || !one.RestUntil.IsZero()):
			done = "resumed; it is tried at once"
		case one.Enabled:
			done = "is enabled already"
		}
		return w.change(ctx, one, done, func(now *outbox.Webhook) error {
			now.Enabled, now.DisabledFor = true, ""
			now.Resumed++ // also ends the pause of one that is enabled
			return nil
		})
	}
}

// findSwitchedOn returns the webhook that is meant, of any origin, unless its own definition switches it off.
func (w *webhooks) findSwitchedOn(ctx context.Context, which string) (*outbox.Webhook, error) {
	one, err := w.find(ctx, which)
	if err != nil {
		return nil, err
	}
	if one.RemovedAfter != nil {
		return nil, removedError(one)
	}
	if !one.SwitchedOn() {
		return nil, &usageError{fmt.Sprintf("webhook %s (%s) is switched off by the configuration: set enabled = true in its [[webhook]] in %s, and restart the relay", visible(nameOf(one)), address(one), w.config)}
	}
	return one, nil
}
