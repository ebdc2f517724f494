package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

func eraseCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	var e outbox.Erasure
	flags.StringVar(&e.Resource, "resource", "", "erase the data of all events about the resource with this `ID`, and of those whose data have it")
	flags.StringVar(&e.Tenant, "tenant", "", "only events of the tenant with this `KEY`")
	yes := flags.Bool("yes", false, "really erase them; it cannot be undone")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		if e.Resource == "" {
			return &usageError{"whose events? give --resource"}
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
		if !*yes {
			found, err := store.Erasable(ctx, e)
			if err != nil {
				return err
			}
			writeErased(env.out, "would erase", found)
			return &usageError{"nothing was erased; run it again with --yes"}
		}
		found, err := store.Erase(ctx, e)
		if err != nil {
			return err
		}
		writeErased(env.out, "erased", found)
		return nil
	}
}

func writeErased(out io.Writer, verb string, found *outbox.Erased) {
	fmt.Fprintf(out, "%s the data of %d events\n", verb, found.Events())
	for _, d := range found.Days {
		if d.Events > 0 {
			fmt.Fprintf(out, "  %s  %d\n", d.Day.Format(time.DateOnly), d.Events)
		}
	}
	if found.Held > 0 {
		fmt.Fprintf(out, "  not logged yet  %d\n", found.Held)
	}
}
