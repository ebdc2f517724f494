package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// reconciliationJSON is a reconciliation for scripts: fields are added, not renamed.
type reconciliationJSON struct {
	ID       int64                        `json:"id"`
	State    outbox.ReconciliationState   `json:"state"`
	DryRun   bool                         `json:"dry_run"`
	Reason   string                       `json:"reason"`
	Error    string                       `json:"error,omitempty"`
	LSN      string                       `json:"lsn,omitempty"` // the place of the log that it is as of
	Table    string                       `json:"table,omitempty"`
	Rows     int64                        `json:"rows"`     // compared so far
	Expected int64                        `json:"expected"` // of about so many
	Asked    time.Time                    `json:"asked"`
	Began    *time.Time                   `json:"began"`
	Ended    *time.Time                   `json:"ended"`
	Result   *outbox.ReconciliationResult `json:"result"`
}

func reconciliationOf(r *outbox.Reconciliation) reconciliationJSON {
	return reconciliationJSON{
		ID: r.ID, State: r.State, DryRun: r.DryRun, Reason: r.Reason, Error: r.Error, LSN: r.LSN, Table: r.Table, Rows: r.Rows, Expected: r.Expected,
		Asked: r.Asked, Began: timeOrNil(r.Began), Ended: timeOrNil(r.Ended), Result: r.Result,
	}
}

type reconcile struct {
	*environment
	cfg    *config.Config
	store  *outbox.Store
	dryRun bool
	json   bool
}

func reconcileCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	c := &reconcile{}
	flags.BoolVar(&c.dryRun, "dry-run", false, "say what would be told, and change nothing")
	skipLog := flags.Bool("skip-log", false, "do not read the log up to now first: for one that cannot be read any more. Of what it has, only the net differences are told")
	flags.BoolVar(&c.json, "json", false, "write JSON: a line for each report of the progress, the last one with the result")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		cfg, err := config.Load(*path, env.environ)
		if err != nil {
			return err
		}
		c.environment, c.cfg = env, cfg
		if c.store, err = openOutbox(ctx, cfg); err != nil {
			return err
		}
		defer c.store.Close()
		position, err := c.store.Position(ctx)
		if err != nil {
			return err
		}
		if position.State != outbox.StateStreaming {
			return errors.New("the relay has not read anything yet: there is nothing to compare with; iam-relay run makes the first copy")
		}
		id, err := c.store.AskReconciliation(ctx, c.dryRun, *skipLog)
		if err != nil {
			return err
		}
		return c.await(ctx, id)
	}
}

// reconcilePoll is how often the progress is asked for.
const reconcilePoll = 250 * time.Millisecond

// await follows a reconciliation to its end. Where no relay leads, it leads for so long.
func (c *reconcile) await(ctx context.Context, id int64) error {
	leader, err := c.store.LeaderPID(ctx)
	if err != nil {
		return err
	}
	if leader != 0 {
		c.say("reconciliation %d is asked for: the relay that runs compares once it has read the log up to now", id)
	} else {
		c.say("reconciliation %d: no relay runs, so it is done here", id)
	}
	ours := *c.cfg
	ours.Admin.Listen = "" // a relay that runs has it
	r, err := relay.New(&ours, c.version, c.logger(ours.Log))
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = r.Reconcile(working, id)
	}()
	final, err := c.follow(ctx, id, ended)
	stop()
	<-ended // its slot and its lock are given back
	if failed != nil && ctx.Err() == nil {
		err = failed
	}
	if err != nil {
		withdraw, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(err, c.store.CancelReconciliation(withdraw, id))
	}
	return c.report(final)
}

// follow shows the progress until the end.
func (c *reconcile) follow(ctx context.Context, id int64, ended <-chan struct{}) (*outbox.Reconciliation, error) {
	tick := time.NewTicker(reconcilePoll)
	defer tick.Stop()
	var shown int64
	again := false
	for {
		r, err := c.store.Reconciliation(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case r == nil:
			return nil, fmt.Errorf("reconciliation %d is gone from the outbox", id)
		case r.State.Ended():
			return r, nil
		case r.Rows > shown:
			shown = r.Rows
			if c.json {
				if err := writeLine(c.out, reconciliationOf(r)); err != nil {
					return nil, err
				}
			} else {
				c.say("comparing %s: %d of about %d rows", r.Table, r.Rows, r.Expected)
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended: // and so is the record, unless it failed
			if again {
				return nil, errors.New("it has stopped before it was finished; see the log")
			}
			again = true
		case <-tick.C:
		}
	}
}

func (c *reconcile) say(format string, arguments ...any) {
	if !c.json {
		fmt.Fprintf(c.out, format+"\n", arguments...)
	}
}

func (c *reconcile) report(r *outbox.Reconciliation) error {
	if c.json {
		if err := writeLine(c.out, reconciliationOf(r)); err != nil {
			return err
		}
	}
	if r.State != outbox.ReconciliationDone {
		return fmt.Errorf("reconciliation %d has %s: %s", r.ID, r.State, r.Error)
	}
	if c.json {
		return nil
	}
	c.say("compared %d rows as of %s (%s)", r.Rows, r.LSN, r.Reason)
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, t := range r.Result.Tables {
		fmt.Fprintf(table, "  %s\t%d inserted\t%d updated\t%d deleted\n", t.Table, t.Inserted, t.Updated, t.Deleted)
	}
	total := int64(0)
	for _, n := range r.Result.Events {
		total += n
	}
	verb := map[bool]string{true: "would be told", false: "are told"}[r.DryRun]
	if total == 0 {
		verb = "nothing differs: no event " + map[bool]string{true: "would be told", false: "is told"}[r.DryRun]
	} else {
		verb = fmt.Sprintf("%d events %s", total, verb)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	c.say("%s", verb)
	for _, name := range slices.Sorted(maps.Keys(r.Result.Events)) {
		fmt.Fprintf(table, "  %s\t%d\n", name, r.Result.Events[name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.DryRun && total > 0 {
		c.say("the first %d of them:", len(r.Result.Sample))
		for _, e := range r.Result.Sample {
			fmt.Fprintf(table, "  %s\t%s\ttenant %s\n", e.Event, visible(e.Resource), visible(e.Tenant))
		}
	}
	return table.Flush()
}
