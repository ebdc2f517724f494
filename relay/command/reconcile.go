package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// reconciliationJSON is a reconciliation for scripts: fields are added, not renamed.
type reconciliationJSON struct {
	ID        int64                        `json:"id"`
	State     outbox.ReconciliationState   `json:"state"`
	DryRun    bool                         `json:"dry_run"`
	Reason    string                       `json:"reason"`
	Error     string                       `json:"error,omitempty"`
	LSN       string                       `json:"lsn,omitempty"` // the WAL position of the comparison
	Table     string                       `json:"table,omitempty"`
	Rows      int64                        `json:"rows"`     // compared so far
	Expected  int64                        `json:"expected"` // of about so many
	Requested time.Time                    `json:"requested"`
	Started   *time.Time                   `json:"started"`
	Ended     *time.Time                   `json:"ended"`
	Result    *outbox.ReconciliationResult `json:"result"`
}

func reconciliationOf(r *outbox.Reconciliation) reconciliationJSON {
	return reconciliationJSON{
		ID: r.ID, State: r.State, DryRun: r.DryRun, Reason: r.Reason, Error: r.Error, LSN: r.LSN, Table: r.Table, Rows: r.Rows, Expected: r.Expected,
		Requested: r.Requested, Started: timeOrNil(r.Started), Ended: timeOrNil(r.Ended), Result: r.Result,
	}
}

func reconcileCommand(env *environment) *cobra.Command {
	var dryRun, skipWAL bool
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Emit the changes that the WAL did not deliver",
		Long: `Compare the mapped tables with the relay's mirror of them, and emit events for the differences.
The relay does this automatically when it finds that the WAL has a gap, unless source.reconcile
is "stop". A running relay does the work; if none is running, the command does it itself.`,
		Example: `  iam-relay reconcile --dry-run
  iam-relay reconcile`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error {
				position, err := s.store.Position(ctx)
				if err != nil {
					return err
				}
				if position.State != outbox.StateStreaming {
					return errors.New("nothing to compare with yet: start the relay with iam-relay run, which copies the tables first")
				}
				id, err := s.store.RequestReconciliation(ctx, dryRun, skipWAL)
				if err != nil {
					return err
				}
				return s.awaitReconciliation(ctx, id)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print which events would be emitted, and change nothing")
	cmd.Flags().BoolVar(&skipWAL, "skip-wal", false, "do not read the WAL up to now first, because it can no longer be read; only the net differences of its changes are emitted")
	env.jsonFlag(cmd, "print JSON, one line per progress report; the last one has the result")
	return cmd
}

// reconcilePoll is how often the progress is read.
const reconcilePoll = 250 * time.Millisecond

// awaitReconciliation follows a reconciliation to its end, and does it here if no relay runs.
func (s *session) awaitReconciliation(ctx context.Context, id int64) error {
	leader, err := s.store.LeaderPID(ctx)
	if err != nil {
		return err
	}
	if leader != 0 {
		s.say("reconciliation %d requested: the running relay does it once it has read the WAL up to now", id)
	} else {
		s.say("reconciliation %d: no relay is running, so it is done here", id)
	}
	ours := *s.cfg
	ours.Admin.Listen = "" // a running relay has it
	r, err := relay.New(&ours, s.version, s.logger(ours.Log, slog.LevelWarn))
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
	final, err := s.followReconciliation(ctx, id, ended)
	stop()
	<-ended // its slot and its lock are released
	if failed != nil && ctx.Err() == nil {
		err = failed
	}
	if err != nil {
		withdraw, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(err, s.store.CancelReconciliation(withdraw, id))
	}
	return s.reportReconciliation(final)
}

// followReconciliation prints the progress until the end.
func (s *session) followReconciliation(ctx context.Context, id int64, ended <-chan struct{}) (*outbox.Reconciliation, error) {
	tick := time.NewTicker(reconcilePoll)
	defer tick.Stop()
	var shown int64
	again := false
	for {
		r, err := s.store.Reconciliation(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case r == nil:
			return nil, fmt.Errorf("reconciliation %d is no longer in the outbox; run iam-relay reconcile again", id)
		case r.State.Ended():
			return r, nil
		case r.Rows > shown:
			shown = r.Rows
			if s.json {
				if err := writeLine(s.out, reconciliationOf(r)); err != nil {
					return nil, err
				}
			} else {
				s.say("comparing %s: %d of about %d rows", r.Table, r.Rows, r.Expected)
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended: // its record has ended too, unless it failed
			if again {
				return nil, errors.New("the reconciliation stopped before it had finished; see the relay's log")
			}
			again = true
		case <-tick.C:
		}
	}
}

func (s *session) reportReconciliation(r *outbox.Reconciliation) error {
	if s.json {
		if err := writeLine(s.out, reconciliationOf(r)); err != nil {
			return err
		}
	}
	if r.State != outbox.ReconciliationDone {
		return fmt.Errorf("reconciliation %d %s: %s", r.ID, r.State, r.Error)
	}
	if s.json {
		return nil
	}
	s.say("compared %d rows as of %s (%s)", r.Rows, r.LSN, r.Reason)
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, t := range r.Result.Tables {
		fmt.Fprintf(table, "  %s\t%d inserted\t%d updated\t%d deleted\n", t.Table, t.Inserted, t.Updated, t.Deleted)
	}
	total := int64(0)
	for _, n := range r.Result.Events {
		total += n
	}
	text := "nothing differs, no events"
	if total > 0 {
		text = count(total, "event")
	}
	verb := " emitted"
	if r.DryRun {
		verb = " would be emitted"
	}
	if err := table.Flush(); err != nil {
		return err
	}
	s.say("%s", text+verb)
	for _, name := range slices.Sorted(maps.Keys(r.Result.Events)) {
		fmt.Fprintf(table, "  %s\t%d\n", name, r.Result.Events[name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.DryRun && total > 0 {
		s.say("the first %d of them:", len(r.Result.Sample))
		for _, e := range r.Result.Sample {
			fmt.Fprintf(table, "  %s\t%s\ttenant %s\n", e.Event, visible(e.Resource), visible(e.Tenant))
		}
	}
	return table.Flush()
}
