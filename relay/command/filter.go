package command

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// timeHelp explains the TIME of flags in the help of commands that have them.
const timeHelp = "A TIME is a date and time such as 2026-08-20T13:54:00Z (RFC 3339), or an age such as 24h or 90m."

const timeForms = "write a time such as 2026-08-20T13:54:00Z, or an age such as 24h or 90m"

// pointInTime is a flag's value: a point in time, absolute or as a duration before now.
type pointInTime struct {
	time.Time
	// last is set where a number of events was given instead, which is for events tail.
	last int
}

var _ pflag.Value = (*pointInTime)(nil)

func (p *pointInTime) String() string { return "" }

func (p *pointInTime) Type() string { return "TIME" }

func (p *pointInTime) Set(text string) error {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		p.Time = time.Now().Add(-ago)
		return nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		p.last = n
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New(timeForms)
	}
	p.Time = at
	return nil
}

// filterFlags are the flags that choose events.
type filterFlags struct {
	name, tenant, resource string
	since, until           pointInTime
}

func (f *filterFlags) declare(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "only events of this `TENANT`, by key or name")
	cmd.Flags().StringVar(&f.resource, "resource", "", "only events with this resource `ID`")
	cmd.Flags().Var(&f.since, "since", "only events at or after `TIME`")
	cmd.Flags().Var(&f.until, "until", "only events before `TIME`")
}

// filter is the choice that the flags make.
func (f *filterFlags) filter() (outbox.EventFilter, error) {
	e := outbox.EventFilter{Tenant: f.tenant, Resource: f.resource, Since: f.since.Time, Until: f.until.Time}
	if f.name != "" {
		if err := webhook.CheckPattern(f.name); err != nil {
			return e, &usageError{err.Error()}
		}
		e.Names = []string{f.name}
	}
	if f.since.last > 0 || f.until.last > 0 {
		return e, &usageError{"--since and --until: " + timeForms}
	}
	if !e.Since.IsZero() && !e.Until.IsZero() && !e.Since.Before(e.Until) {
		return e, &usageError{"--since must be before --until"}
	}
	return e, nil
}

// limit is how many lines a list has.
type limit int

const maxLimit = 100_000

func (l *limit) declare(cmd *cobra.Command) {
	cmd.Flags().IntVar((*int)(l), "limit", 50, "show at most this `NUMBER`, newest first")
}

func (l *limit) check() error {
	if *l < 1 || *l > maxLimit {
		return &usageError{fmt.Sprintf("--limit must be from 1 to %d", maxLimit)}
	}
	return nil
}
