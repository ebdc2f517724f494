package command

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

func replayID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, &usageError{fmt.Sprintf("%q is not the number of a replay; replay list shows them", text)}
	}
	return id, nil
}

func checkReplayID(args []string) error {
	_, err := replayID(args[0])
	return err
}

func (c *replayCommandLine) list(ctx context.Context, o *opened, _ []string) error {
	all, err := o.store.Replays(ctx, 0, int(c.limit))
	if err != nil {
		return err
	}
	if c.json {
		for i := range all {
			if err := writeLine(o.out, replayOf(&all[i])); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(o.out, "no replays")
		return nil
	}
	w := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\twebhook\tstate\tlooked at\tthrough\tqueued\tdelivered\twaiting\tdead\tcreated")
	for i := range all {
		p := &all[i]
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", p.ID, p.Webhook, p.State, p.Cursor, p.Through, p.Queued, p.Delivered(), p.Waiting, p.Dead, clock(p.Created))
	}
	return w.Flush()
}

func (c *replayCommandLine) show(ctx context.Context, o *opened, args []string) error {
	id, err := replayID(args[0])
	if err != nil {
		return err
	}
	if c.wait {
		return c.follow(ctx, o.out, o.store, id)
	}
	return c.report(ctx, o.out, o.store, id, true)
}

func readReplay(ctx context.Context, store *outbox.Store, id int64) (*outbox.ReplayProgress, error) {
	all, err := store.Replays(ctx, id, 1)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no replay %d", id)
	}
	return &all[0], nil
}

// report shows a replay once.
func (c *replayCommandLine) report(ctx context.Context, out io.Writer, store *outbox.Store, id int64, shown bool) error {
	p, err := readReplay(ctx, store, id)
	switch {
	case err != nil || !shown:
		return err
	case c.json:
		return writeLine(out, replayOf(p))
	}
	say(out, p)
	return nil
}

func say(out io.Writer, p *outbox.ReplayProgress) {
	fmt.Fprintf(out, "%s: looked at events up to %d of %d; %d queued, %d delivered, %d waiting, %d dead, %d skipped\n", p.State, p.Cursor, p.Through,
		p.Queued, p.Delivered(), p.Waiting, p.Dead, p.Skipped)
}

// followPoll is how often --wait looks.
const followPoll = 200 * time.Millisecond

// follow reports each change until nothing more will come. That it ends, or is interrupted, does nothing to the replay.
func (c *replayCommandLine) follow(ctx context.Context, out io.Writer, store *outbox.Store, id int64) error {
	tick := time.NewTicker(followPoll)
	defer tick.Stop()
	var last outbox.ReplayProgress
	for {
		p, err := readReplay(ctx, store, id)
		if err != nil {
			return err
		}
		changed := p.State != last.State || p.Cursor != last.Cursor || p.Queued != last.Queued || p.Waiting != last.Waiting || p.Dead != last.Dead || p.Skipped != last.Skipped
		if last = *p; changed {
			if c.json {
				err = writeLine(out, replayOf(p))
			} else {
				say(out, p)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case p.State == outbox.ReplayRunning || p.Waiting > 0:
		case p.State == outbox.ReplayCanceled:
			return fmt.Errorf("replay %d was canceled, or its webhook removed", id)
		case p.Dead > 0:
			return fmt.Errorf("%d deliveries were given up; iam-relay deliveries --state dead --webhook %d lists them", p.Dead, p.Webhook)
		default:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted; replay %d goes on, replay show %d tells how far it is", id, id)
		case <-tick.C:
		}
	}
}

func (c *replayCommandLine) cancel(ctx context.Context, o *opened, args []string) error {
	id, err := replayID(args[0])
	if err != nil {
		return err
	}
	p, err := readReplay(ctx, o.store, id)
	if err != nil {
		return err
	}
	canceled, err := o.store.CancelReplay(ctx, id)
	switch {
	case err != nil:
		return err
	case !canceled:
		return fmt.Errorf("replay %d is not running: it is %s", id, p.State)
	}
	return c.report(ctx, o.out, o.store, id, true)
}
