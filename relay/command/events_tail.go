package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// tailPoll is how often the outbox is read; without new events that is one index lookup.
	tailPoll = 200 * time.Millisecond
	// tailSlice is how many events are read at a time.
	tailSlice = 500
)

func eventsTailCommand(env *environment) *cobra.Command {
	var filter filterFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they are stored",
		Long: `Print events as they are stored, until interrupted. With --since, begin with earlier ones:
those since a TIME, or the last NUMBER of events.
` + timeHelp,
		Example: `  iam-relay events tail --name 'user.*'
  iam-relay events tail --since 10`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			last := filter.since.last
			filter.since.last = 0
			f, err := filter.filter()
			if err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.tailEvents(ctx, f, last) })
		},
	}
	cmd.Flags().StringVar(&filter.name, "name", "", "only events whose name matches `PATTERN`, such as user.* or *.deleted")
	cmd.Flags().StringVar(&filter.tenant, "tenant", "", "only events of this `TENANT`, by key or name")
	cmd.Flags().StringVar(&filter.resource, "resource", "", "only events with this resource `ID`")
	cmd.Flags().Var(&filter.since, "since", "begin with events since `TIME`, or with the last NUMBER of events")
	env.jsonFlag(cmd, "print JSON, one line per event")
	return cmd
}

// tailEvents follows the event log. One writer numbers events in the order of their commits, so that none appears behind
// one that was read.
func (s *session) tailEvents(ctx context.Context, f outbox.EventFilter, last int) error {
	var after int64
	var err error
	if f.Tenant, err = s.tenantKey(ctx, f.Tenant); err != nil {
		return err
	}
	if f.Since.IsZero() {
		if after, err = s.tailStart(ctx, f, last); err != nil {
			return err
		}
	}
	tick := time.NewTicker(tailPoll)
	defer tick.Stop()
	for {
		position, err := s.store.Position(ctx)
		var events []outbox.Event
		if err == nil {
			events, err = s.store.EventsAfter(ctx, f, after, tailSlice)
		}
		if ctx.Err() != nil {
			return nil // the usual end
		}
		if err != nil {
			return err
		}
		if err := s.writeTail(ctx, events); err != nil {
			return err
		}
		if len(events) > 0 {
			after = events[len(events)-1].ID
		}
		if len(events) == tailSlice {
			continue
		}
		after = max(after, position.LastEvent) // events that the filter rejects are not read again
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tailStart prints the last events, and returns the number of the event to continue after.
func (s *session) tailStart(ctx context.Context, f outbox.EventFilter, last int) (int64, error) {
	position, err := s.store.Position(ctx)
	if err != nil || last == 0 {
		return position.LastEvent, err
	}
	events, err := s.store.Events(ctx, f, last)
	if err != nil {
		return 0, err
	}
	slices.Reverse(events)
	after := position.LastEvent
	if len(events) > 0 {
		after = max(after, events[len(events)-1].ID)
	}
	return after, s.writeTail(ctx, events)
}

// writeTail prints events, oldest first.
func (s *session) writeTail(ctx context.Context, events []outbox.Event) error {
	names, err := s.namesOf(ctx, events)
	if err != nil {
		return err
	}
	for i := range events {
		e := &events[i]
		if s.json {
			err = writeLine(s.out, eventOf(e, names))
		} else {
			_, err = fmt.Fprintf(s.out, "%d  %s  %s  tenant %s  resource %s\n", e.ID, e.Occurred.Format(time.RFC3339Nano), e.Name, names.text(e.Tenant), orDash(e.Resource))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
