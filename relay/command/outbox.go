package command

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// openOutbox opens the configured outbox, which must be there and of this version.
func openOutbox(ctx context.Context, cfg *config.Config) (*outbox.Store, error) {
	store, err := outbox.Open(string(cfg.OutboxURL()), cfg.Outbox.Schema)
	if err != nil {
		return nil, err
	}
	setting, err := store.Setting(ctx)
	switch {
	case err != nil:
	case setting.Migration == 0:
		err = fmt.Errorf("database %s has no outbox in schema %s that role %s can read; run or setup makes it, check tells what is missing",
			setting.Database, cfg.Outbox.Schema, setting.Role)
	case setting.Migration != setting.Known:
		err = fmt.Errorf("schema %s is of another version of iam-relay (migration %d, this one knows %d); use the version that runs the relay",
			cfg.Outbox.Schema, setting.Migration, setting.Known)
	}
	if err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

// opened is what work on the outbox by hand has at hand.
type opened struct {
	*environment
	cfg   *config.Config
	store *outbox.Store
}

// verb is one of the things that a command does.
type verb struct {
	name, arguments, summary string
	// least and most say how many arguments it takes.
	least, most int
	// options are those that it takes, besides --config and --json.
	options []string
	// check refuses a wrong command line before anything is opened; it may be nil.
	check func(args []string) error
	run   func(ctx context.Context, o *opened, args []string) error
}

// verbs makes a command of several verbs, of which the first is meant where none is named. Options may stand before, between and
// behind the arguments.
func verbs(flags *flag.FlagSet, path *string, list []verb) func(context.Context, *environment, []string) error {
	flags.Usage = func() {
		w := flags.Output()
		fmt.Fprintln(w, "Usage:")
		for _, v := range list {
			fmt.Fprintf(w, "  %s\n    \t%s\n", strings.TrimRight(flags.Name()+" "+v.name+" "+v.arguments, " "), v.summary)
		}
		fmt.Fprintf(w, "Without one of these words, %s is meant. TIME is as 2026-08-20T13:54:00Z (RFC 3339), or how long ago, as 24h or 90m.\nOptions:\n", list[0].name)
		flags.PrintDefaults()
	}
	return func(ctx context.Context, env *environment, rest []string) error {
		var args []string
		for len(rest) > 0 {
			args = append(args, rest[0])
			if err := flags.Parse(rest[1:]); err != nil {
				if errors.Is(err, flag.ErrHelp) {
					return err
				}
				return &usageError{err.Error()}
			}
			rest = flags.Args()
		}
		v := &list[0]
		if len(args) > 0 {
			if i := slices.IndexFunc(list, func(v verb) bool { return v.name == args[0] }); i >= 0 {
				v, args = &list[i], args[1:]
			}
		}
		if err := v.fits(flags, args); err != nil {
			return err
		}
		if v.check != nil {
			if err := v.check(args); err != nil {
				return err
			}
		}
		cfg, err := config.Load(*path, env.environ)
		if err != nil {
			return err
		}
		store, err := openOutbox(ctx, cfg)
		if err != nil {
			return err
		}
		defer store.Close()
		return v.run(ctx, &opened{env, cfg, store}, args)
	}
}

// fits checks the arguments' number, and that all options given are the verb's.
func (v *verb) fits(flags *flag.FlagSet, args []string) error {
	switch {
	case len(args) > v.most && v.most == 0:
		return &usageError{fmt.Sprintf("unexpected argument %q; %s --help lists what there is", args[0], flags.Name())}
	case len(args) > v.most:
		return &usageError{fmt.Sprintf("unexpected argument %q", args[v.most])}
	case len(args) < v.least:
		return &usageError{fmt.Sprintf("%s %s needs %s", flags.Name(), v.name, v.arguments)}
	}
	var foreign error
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "config" && f.Name != "json" && !slices.Contains(v.options, f.Name) {
			foreign = &usageError{fmt.Sprintf("--%s is not an option of %s %s", f.Name, flags.Name(), v.name)}
		}
	})
	return foreign
}

// moment is a point in time on the command line, absolute or as a duration before now.
type moment struct {
	time.Time
	// last is set where a number of events was given instead, which events tail knows what to do with.
	last int
}

func (m *moment) String() string { return "" }

// Set implements flag.Value.
func (m *moment) Set(text string) error {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		m.last = n
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New("write a time as 2026-08-20T13:54:00Z, or how long ago as 24h or 90m")
	}
	m.Time = at
	return nil
}

// filterFlags are the options that narrow the log.
type filterFlags struct {
	name, tenant, resource string
	since, until           moment
}

func (f *filterFlags) declare(flags *flag.FlagSet) {
	flags.StringVar(&f.tenant, "tenant", "", "only events of the tenant with this `KEY`")
	flags.StringVar(&f.resource, "resource", "", "only events whose resource_id is this `ID`")
	flags.Var(&f.since, "since", "only events of this `TIME` or later")
	flags.Var(&f.until, "until", "only events before this `TIME`")
}

// filter is what the options ask for.
func (f *filterFlags) filter() (outbox.EventFilter, error) {
	e := outbox.EventFilter{Tenant: f.tenant, Resource: f.resource, Since: f.since.Time, Until: f.until.Time}
	if f.name != "" {
		if err := webhook.CheckPattern(f.name); err != nil {
			return e, &usageError{err.Error()}
		}
		e.Names = []string{f.name}
	}
	if f.since.last > 0 || f.until.last > 0 {
		return e, &usageError{"--since and --until take a time as 2026-08-20T13:54:00Z, or how long ago with its unit, as 24h or 90m"}
	}
	if !e.Since.IsZero() && !e.Until.IsZero() && !e.Since.Before(e.Until) {
		return e, &usageError{"--since is not before --until"}
	}
	return e, nil
}

// eventNamed reads an argument that names one event: its number, or its webhook-id.
func eventNamed(text string) (outbox.EventFilter, error) {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil && id > 0 {
		return outbox.EventFilter{ID: id}, nil
	}
	if strings.HasPrefix(text, "evt_") {
		return outbox.EventFilter{WebhookID: text}, nil
	}
	return outbox.EventFilter{}, &usageError{fmt.Sprintf("%q names no event; write its number or its webhook-id, evt_…", text)}
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
