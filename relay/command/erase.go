package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// erasureJSON is the result of erase.
type erasureJSON struct {
	DryRun  bool             `json:"dry_run"`
	Events  int64            `json:"events"`
	Days    map[string]int64 `json:"days"`    // events by day, as 2026-08-20
	Delayed int64            `json:"delayed"` // events that wait for a change that may cancel them
}

func eraseCommand(env *environment) *cobra.Command {
	var e outbox.Erasure
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "erase --resource ID",
		Short: "Erase the stored data of one resource",
		Long: `Erase the data of all stored events about a resource, such as a user, and of those whose data
contain its id. The events stay, with null for their data. This cannot be undone.`,
		Example: `  iam-relay erase --resource 0198c0de-0000-7000-8000-000000000011 --dry-run
  iam-relay erase --resource 0198c0de-0000-7000-8000-000000000011 --yes`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case e.Resource == "":
				return &usageError{"no resource given: name it with --resource"}
			case yes && dryRun:
				return &usageError{"give either --yes or --dry-run"}
			}
			return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return s.erase(ctx, e, yes, dryRun) })
		},
	}
	cmd.Flags().StringVar(&e.Resource, "resource", "", "the resource `ID` (required)")
	cmd.Flags().StringVar(&e.Tenant, "tenant", "", "only events of this `TENANT`, by key or name")
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print how many events would be erased, and change nothing")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *session) erase(ctx context.Context, e outbox.Erasure, yes, dryRun bool) error {
	var err error
	if e.Tenant, err = s.tenantKey(ctx, e.Tenant); err != nil {
		return err
	}
	act, verb := s.store.Erasable, "would erase"
	if yes {
		act, verb = s.store.Erase, "erased"
	}
	found, err := act(ctx, e)
	if err != nil {
		return err
	}
	if err := s.writeErased(verb, found, !yes); err != nil {
		return err
	}
	if !yes && !dryRun {
		return &usageError{"nothing was erased; confirm with --yes"}
	}
	return nil
}

func (s *session) writeErased(verb string, found *outbox.Erased, dryRun bool) error {
	if s.json {
		result := erasureJSON{DryRun: dryRun, Events: found.Events(), Days: map[string]int64{}, Delayed: found.Delayed}
		for _, d := range found.Days {
			if d.Events > 0 {
				result.Days[d.Day.Format(time.DateOnly)] = d.Events
			}
		}
		return writeObject(s.out, result)
	}
	s.say("%s the data of %s", verb, count(found.Events(), "event"))
	for _, d := range found.Days {
		if d.Events > 0 {
			s.say("  %s  %d", d.Day.Format(time.DateOnly), d.Events)
		}
	}
	if found.Delayed > 0 {
		s.say("  delayed     %d", found.Delayed)
	}
	return nil
}
