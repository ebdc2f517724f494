package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// newSecret generates a secret in the format of Standard Webhooks.
func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // It never fails (crypto/rand).
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// checkSecrets refuses malformed secrets of a file.
func checkSecrets(secrets []string) error {
	for _, secret := range secrets {
		if err := webhook.Secret(secret).Check(); err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
	}
	return nil
}

// sayWithSecret reports what was done, with the new secret, which cannot be shown later.
func (s *session) sayWithSecret(ctx context.Context, w *outbox.Webhook, done, secret string) error {
	if s.json {
		return s.writeWebhook(ctx, w, secret)
	}
	if err := s.sayWebhook(ctx, w, done); err != nil || secret == "" {
		return err
	}
	s.say("its secret, which is shown only now:\n%s", secret)
	return nil
}

type rotateFlags struct {
	grace      time.Duration
	secretFile string
	dryRun     bool
}

func webhooksRotateCommand(env *environment) *cobra.Command {
	var f rotateFlags
	cmd := env.webhookCommand(&cobra.Command{
		Use:   "rotate",
		Short: "Give a webhook a new secret",
		Long: `Give a webhook that was added by command a new secret. The old secrets keep signing for a grace period, so that
receivers can change over.`,
		Example: `  iam-relay webhooks rotate crm
  iam-relay webhooks rotate crm --grace 1h --secret-file secret.txt`,
	}, func(ctx context.Context, s *session, which string) error { return s.rotate(ctx, which, &f) })
	cmd.Flags().DurationVar(&f.grace, "grace", 24*time.Hour, "`DURATION` for which the old secrets keep signing")
	cmd.Flags().StringVar(&f.secretFile, "secret-file", "", "the `FILE` with the new secrets, one per line, instead of a generated one")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the effect, and change nothing")
	return cmd
}

func (s *session) rotate(ctx context.Context, which string, f *rotateFlags) error {
	if f.grace < 0 || f.grace > 365*24*time.Hour {
		return &usageError{"--grace must be from 0s to 8760h"}
	}
	w, err := s.findOwn(ctx, which)
	if err != nil {
		return err
	}
	secrets, generated := []string{newSecret()}, f.secretFile == ""
	if !generated {
		if secrets, err = linesOf("secret-file", f.secretFile); err == nil {
			err = checkSecrets(secrets)
		}
		if err != nil {
			return &usageError{err.Error()}
		}
	}
	if generated && len(w.Secrets) > 0 && secretKind(w.Secrets[0]) == kindAsymmetric {
		return &usageError{"the webhook signs with an asymmetric key, whose public half its receivers have: give the new key with --secret-file"}
	}
	now := time.Now()
	rotate := func(w *outbox.Webhook) error {
		w.Rotate(now, f.grace, secrets...)
		return nil
	}
	done := func(changed *outbox.Webhook) string {
		if changed.NextExpiry(now).IsZero() {
			return "signed with a new secret only"
		}
		return "signed with a new secret, and with the old ones until " + now.Add(f.grace).UTC().Format(time.RFC3339)
	}
	if f.dryRun {
		trial := *w
		if err := rotate(&trial); err != nil {
			return err
		}
		return s.sayDryRun(w, done(&trial))
	}
	changed, err := s.store.ChangeWebhook(ctx, w.ID, rotate)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", visible(nameOf(w)), err)
	}
	if !generated {
		return s.sayWebhook(ctx, &changed, done(&changed))
	}
	return s.sayWithSecret(ctx, &changed, done(&changed), secrets[0])
}

// The kinds of secrets.
const (
	kindStandard   = "whsec" // a random key in the format of Standard Webhooks
	kindAsymmetric = "whsk"  // a private key in that format
	kindText       = "text"  // a text that is the key itself
)

func secretKind(secret string) string {
	for _, kind := range []string{kindStandard, kindAsymmetric} {
		if strings.HasPrefix(secret, kind+"_") {
			return kind
		}
	}
	return kindText
}

// secretEntry describes a secret without its text.
type secretEntry struct {
	Kind    string     `json:"kind"`
	Created *time.Time `json:"created"`
	Expires *time.Time `json:"expires"` // null: never
}

func webhooksSecretsCommand(env *environment) *cobra.Command {
	return env.webhookCommand(&cobra.Command{
		Use:     "secrets",
		Short:   "List the secrets of a webhook, without their text",
		Long:    "List the kind, creation and expiry of the secrets of a webhook that was added by command.",
		Example: "  iam-relay webhooks secrets crm",
	}, func(ctx context.Context, s *session, which string) error { return s.listSecrets(ctx, which) })
}

func (s *session) listSecrets(ctx context.Context, which string) error {
	w, err := s.findOwn(ctx, which)
	if err != nil {
		return err
	}
	entries, now := []secretEntry{}, time.Now()
	for i, secret := range w.Secrets {
		if created, expires := w.SecretTimes(i); expires.IsZero() || expires.After(now) {
			entries = append(entries, secretEntry{secretKind(secret), timeOrNil(created), timeOrNil(expires)})
		}
	}
	if s.json {
		return writeObject(s.out, entries)
	}
	if len(entries) == 0 {
		s.say("no secrets: requests are sent without a signature")
		return nil
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "kind\tcreated\texpires")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%s\n", e.Kind, timeTextOrDash(e.Created), timeTextOrDash(e.Expires))
	}
	return table.Flush()
}
