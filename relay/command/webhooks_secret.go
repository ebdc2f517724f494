package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// newSecret makes a secret in the form of Standard Webhooks.
func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // It never fails (crypto/rand).
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// checkSecrets refuses secrets of a file that cannot be used.
func checkSecrets(secrets []string) error {
	for _, secret := range secrets {
		if err := webhook.Secret(secret).Check(); err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
	}
	return nil
}

// sayWithSecret says what was done, and the new secret, which nobody can ask for later.
func (w *webhooks) sayWithSecret(ctx context.Context, one *outbox.Webhook, done, secret string) error {
	if w.json {
		return w.writeDetail(ctx, one, secret)
	}
	if err := w.say(ctx, one, done); err != nil || secret == "" {
		return err
	}
	fmt.Fprintf(w.env.out, "its secret, which is shown only now:\n%s\n", secret)
	return nil
}

func webhooksRotate(flags *flag.FlagSet) func(context.Context, *webhooks, []string) error {
	grace := flags.Duration("grace", 24*time.Hour, "how long the old secrets sign too")
	secretFile := flags.String("secret-file", "", "the `file` with the new secrets, one a line, instead of making one")
	return func(ctx context.Context, w *webhooks, args []string) error {
		if *grace < 0 || *grace > 365*24*time.Hour {
			return &usageError{"--grace must be from 0s to 8760h"}
		}
		one, err := w.findOwn(ctx, args[0])
		if err != nil {
			return err
		}
		fresh, made := []string{newSecret()}, true
		if *secretFile != "" {
			made = false
			if fresh, err = linesOf("secret-file", *secretFile); err == nil {
				err = checkSecrets(fresh)
			}
			if err != nil {
				return &usageError{err.Error()}
			}
		}
		if made && len(one.Secrets) > 0 && secretKind(one.Secrets[0]) == kindAsymmetric {
			return &usageError{"the webhook signs with an asymmetric key, and its receivers know the public half: give the new one by --secret-file"}
		}
		now := time.Now()
		changed, err := w.store.ChangeWebhook(ctx, one.ID, func(one *outbox.Webhook) error {
			one.Rotate(now, *grace, fresh...)
			return nil
		})
		if err != nil {
			return fmt.Errorf("webhook %s: %w", visible(nameOf(one)), err)
		}
		done := "signs with a new secret alone"
		if end := changed.NextExpiry(now); !end.IsZero() {
			done = "signs with a new secret, and with the old ones until " + now.Add(*grace).UTC().Format(time.RFC3339)
		}
		if !made {
			return w.say(ctx, &changed, done)
		}
		return w.sayWithSecret(ctx, &changed, done, fresh[0])
	}
}

// The kinds of secrets.
const (
	kindStandard   = "whsec" // a random key in the form of Standard Webhooks
	kindAsymmetric = "whsk"  // a private key in that form
	kindText       = "text"  // a text that is its own key
)

func secretKind(secret string) string {
	for _, kind := range []string{kindStandard, kindAsymmetric} {
		if strings.HasPrefix(secret, kind+"_") {
			return kind
		}
	}
	return kindText
}

// secretEntry is what may be told of a secret.
type secretEntry struct {
	Kind    string     `json:"kind"`
	Created *time.Time `json:"created"`
	Expires *time.Time `json:"expires"` // null is never
}

func webhooksSecrets(*flag.FlagSet) func(context.Context, *webhooks, []string) error {
	return func(ctx context.Context, w *webhooks, args []string) error {
		one, err := w.findOwn(ctx, args[0])
		if err != nil {
			return err
		}
		entries, now := []secretEntry{}, time.Now()
		for i, secret := range one.Secrets {
			if created, expires := one.SecretTimes(i); expires.IsZero() || expires.After(now) {
				entries = append(entries, secretEntry{secretKind(secret), known(created), known(expires)})
			}
		}
		if w.json {
			return writeObject(w.env.out, entries)
		}
		if len(entries) == 0 {
			fmt.Fprintln(w.env.out, "it has no secret: it is sent to without a signature")
			return nil
		}
		table := tabwriter.NewWriter(w.env.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "kind\tcreated\texpires")
		for _, e := range entries {
			fmt.Fprintf(table, "%s\t%s\t%s\n", e.Kind, instant(e.Created), instant(e.Expires))
		}
		return table.Flush()
	}
}
