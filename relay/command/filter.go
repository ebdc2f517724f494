package command

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

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
