package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/iam-relay/iam-relay/mapping"
)

func presetsCommand(*flag.FlagSet) func(context.Context, *environment, []string) error {
	return func(_ context.Context, env *environment, args []string) error {
		switch len(args) {
		case 0:
			for _, p := range mapping.Presets() {
				fmt.Fprintf(env.out, "%-12s %s\n", p.Name, p.Title)
			}
			return nil
		case 1:
			source, err := mapping.Preset(args[0])
			if err != nil {
				return &usageError{err.Error() + "; iam-relay presets lists them"}
			}
			_, err = env.out.Write(source)
			return err
		}
		return noArguments(args[1:])
	}
}
