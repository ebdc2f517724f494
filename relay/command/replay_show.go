package command

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

func replayListCommand(env *environment) *cobra.Command {
	var most limit
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List replays, newest first",
		Long:    "List replays, newest first, with how many events they have queued and delivered.",
		Example: "  iam-relay replay list --limit 5",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := most.check(); err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.listReplays(ctx, int(most)) })
		},
	}
	most.declare(cmd)
	env.jsonFlag(cmd, "print JSON, one line per replay")
	return cmd
}

func (s *session) listReplays(ctx context.Context, most int) error {
	all, err := s.store.Replays(ctx, 0, most)
	if err != nil {
		return err
	}
	if s.json {
		for i := range all {
			if err := writeLine(s.out, replayOf(&all[i])); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(s.out, "no replays")
		return nil
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\twebhook\tstate\tcursor\tthrough\tqueued\tdelivered\twaiting\tdead\tcreated")
	for i := range all {
		p := &all[i]
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", p.ID, p.Webhook, p.State, p.Cursor, p.Through, p.Queued, p.Delivered(), p.Waiting, p.Dead, timeText(p.Created))
	}
	return w.Flush()
}

func replayShowCommand(env *environment) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show the progress of a replay",
		Long:    "Show how many events a replay has queued and delivered, once or until it has ended.",
		Example: "  iam-relay replay show 3 --wait",
		Args:    oneArgument("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := replayID(args[0])
			if err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error {
				if wait {
					return s.followReplay(ctx, id)
				}
				return s.printReplay(ctx, id)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the replay until everything is delivered or dead")
	env.jsonFlag(cmd, "print JSON, one line per report")
	return cmd
}

func replayCancelCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cancel ID",
		Short:   "Cancel a replay",
		Long:    "Cancel a replay. Deliveries that it has queued already are still sent.",
		Example: "  iam-relay replay cancel 3",
		Args:    oneArgument("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := replayID(args[0])
			if err != nil {
				return err
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.cancelReplay(ctx, id) })
		},
	}
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func replayID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, &usageError{fmt.Sprintf("%q is not the number of a replay; iam-relay replay list shows them", text)}
	}
	return id, nil
}

func (s *session) readReplay(ctx context.Context, id int64) (*outbox.ReplayProgress, error) {
	all, err := s.store.Replays(ctx, id, 1)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no replay %d; iam-relay replay list lists them", id)
	}
	return &all[0], nil
}

func (s *session) printReplay(ctx context.Context, id int64) error {
	p, err := s.readReplay(ctx, id)
	if err != nil {
		return err
	}
	return s.writeReplay(p)
}

func (s *session) writeReplay(p *outbox.ReplayProgress) error {
	if s.json {
		return writeLine(s.out, replayOf(p))
	}
	_, err := fmt.Fprintf(s.out, "%s: examined events up to %d of %d; %d queued, %d delivered, %d waiting, %d dead, %d skipped\n", p.State, p.Cursor, p.Through,
		p.Queued, p.Delivered(), p.Waiting, p.Dead, p.Skipped)
	return err
}

// followPoll is how often --wait reads the progress.
const followPoll = 200 * time.Millisecond

// followReplay reports each change until the replay has ended. Interrupting it leaves the replay running.
func (s *session) followReplay(ctx context.Context, id int64) error {
	tick := time.NewTicker(followPoll)
	defer tick.Stop()
	var last outbox.ReplayProgress
	for {
		p, err := s.readReplay(ctx, id)
		if err != nil {
			return err
		}
		changed := p.State != last.State || p.Cursor != last.Cursor || p.Queued != last.Queued || p.Waiting != last.Waiting || p.Dead != last.Dead || p.Skipped != last.Skipped
		if last = *p; changed {
			if err := s.writeReplay(p); err != nil {
				return err
			}
		}
		switch {
		case p.State == outbox.ReplayRunning || p.Waiting > 0:
		case p.State == outbox.ReplayCanceled:
			return fmt.Errorf("replay %d was canceled, or its webhook removed", id)
		case p.Dead > 0:
			return fmt.Errorf("%s failed for good; iam-relay deliveries --state dead --webhook %d lists them", count(p.Dead, "delivery"), p.Webhook)
		default:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted; replay %d continues, see iam-relay replay show %d", id, id)
		case <-tick.C:
		}
	}
}

func (s *session) cancelReplay(ctx context.Context, id int64) error {
	p, err := s.readReplay(ctx, id)
	if err != nil {
		return err
	}
	canceled, err := s.store.CancelReplay(ctx, id)
	switch {
	case err != nil:
		return err
	case !canceled:
		return fmt.Errorf("replay %d is not running: it is %s", id, p.State)
	}
	return s.printReplay(ctx, id)
}
