package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// openOutbox opens an outbox whose tables are those that this program knows.
func openOutbox(ctx context.Context, cfg *config.Config) (*outbox.Store, error) {
	store, err := outbox.Open(string(cfg.OutboxURL()), cfg.Outbox.Schema, cfg.Outbox.SealingKeys())
	if err != nil {
		return nil, err
	}
	if err := migrated(ctx, store); err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

func migrated(ctx context.Context, store *outbox.Store) error {
	setting, err := store.Setting(ctx)
	switch {
	case err != nil:
		return err
	case setting.Migration == 0:
		return fmt.Errorf("database %s has no outbox in schema %s that role %s can read; run or setup makes it, check tells what is missing",
			setting.Database, store.Schema(), setting.Role)
	case setting.Migration < setting.Known:
		return fmt.Errorf("schema %s was created by an older iam-relay (migration %d, this version knows %d); run or setup updates it",
			store.Schema(), setting.Migration, setting.Known)
	case setting.Migration > setting.Known:
		return fmt.Errorf("schema %s was created by a newer iam-relay (migration %d, this version knows %d): run that version",
			store.Schema(), setting.Migration, setting.Known)
	}
	return nil
}

// opened is what work on the outbox by hand has at hand.
type opened struct {
	*environment
	cfg   *config.Config
	store *outbox.Store
}

// findEvent looks the event of an argument up.
func findEvent(ctx context.Context, store *outbox.Store, text string) (*outbox.Event, error) {
	f, err := eventNamed(text)
	if err != nil {
		return nil, err
	}
	e, err := store.Event(ctx, f)
	if err == nil && e == nil {
		err = fmt.Errorf("there is no event %s: retention has dropped it, or it never was", text)
	}
	return e, err
}

// findWebhook looks a webhook up by its number, name or key.
func findWebhook(ctx context.Context, store *outbox.Store, text string) (*outbox.WebhookRef, error) {
	all, err := store.WebhookRefs(ctx)
	if err != nil {
		return nil, err
	}
	var found []*outbox.WebhookRef
	for i := range all {
		w := &all[i]
		if strconv.FormatInt(w.ID, 10) == text {
			return w, nil
		}
		if w.Name == text || w.Key == text {
			found = append(found, w)
		}
	}
	// One that was removed gives way to its successor of the same name.
	if live := slices.DeleteFunc(slices.Clone(found), func(w *outbox.WebhookRef) bool { return w.Removed }); len(live) == 1 {
		found = live
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no webhook %q; iam-relay status lists them", text)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, w := range found {
		ids[i] = strconv.FormatInt(w.ID, 10)
	}
	return nil, fmt.Errorf("several webhooks are called %q; give the number of one: %s", text, strings.Join(ids, ", "))
}

// place is what is shown of a URL: scheme and host. What follows may be a secret.
func place(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// writeLine writes one object of a list as a line of JSON.
func writeLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

// writeObject writes one object for people and scripts alike.
func writeObject(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// timeOrNil leaves the zero time out of JSON.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// clock writes a time for people.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// orDash fills an empty cell of a table.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return visible(text)
}

// visible keeps what others have written, such as the name of a webhook in the IAM, from moving the cursor or breaking a table.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// limit is how many lines a list has.
type limit int

func (l *limit) declare(flags *flag.FlagSet) {
	*l = 50
	flags.IntVar((*int)(l), "limit", 50, "show at most this `NUMBER`, the newest first")
}

func (l *limit) check([]string) error {
	if *l < 1 || *l > 100_000 {
		return &usageError{"--limit is from 1 to 100000"}
	}
	return nil
}
