package command

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func webhooksAdd(flags *flag.FlagSet) func(context.Context, *webhooks, []string) error {
	d := defineFlags(flags)
	return func(ctx context.Context, w *webhooks, _ []string) error {
		one := outbox.Webhook{Tenant: webhook.AllTenants, Events: []string{"*"}, Options: "{}", Enabled: true}
		if err := checkWebhookName(d.name); err != nil {
			return &usageError{err.Error()}
		}
		if err := d.apply(w, &one); err != nil {
			return err
		}
		secret := ""
		if one.Secrets == nil && !d.unsigned {
			secret = newSecret()
			one.SetSecrets(time.Now(), secret)
		}
		if err := w.store.AddWebhook(ctx, &one); err != nil {
			return fmt.Errorf("webhook %s: %w", one.Name, err)
		}
		return w.sayWithSecret(ctx, &one, "made", secret)
	}
}

func webhooksUpdate(flags *flag.FlagSet) func(context.Context, *webhooks, []string) error {
	d := defineFlags(flags)
	return func(ctx context.Context, w *webhooks, args []string) error {
		one, err := w.findOwn(ctx, args[0])
		if err != nil {
			return err
		}
		given := d.given()
		delete(given, "config")
		delete(given, "json")
		if len(given) == 0 {
			return &usageError{"what is to change? iam-relay webhooks update --help lists the options"}
		}
		if given["unsigned"] && !d.unsigned && len(one.Secrets) == 0 {
			return &usageError{"it has no secret; make one with iam-relay webhooks rotate"}
		}
		trial := *one // before anything is locked
		if err := d.apply(w, &trial); err != nil {
			return err
		}
		done := "changed"
		if one.DisabledFor != "" && !one.StoppedByHand() {
			done = "changed, and enabled again"
		}
		if trial.Tenant != one.Tenant {
			done += fmt.Sprintf("; it belongs to another tenant now and is a new webhook: what webhook %d was still owed is dropped", one.ID)
		}
		return w.change(ctx, one, done, func(now *outbox.Webhook) error {
			if !now.StoppedByHand() { // as a change of any other definition brings back what the relay has given up
				now.Enabled, now.DisabledFor = true, ""
			}
			return d.apply(w, now)
		})
	}
}

// linesOf reads the lines of a file that are not empty; there is at least one.
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
