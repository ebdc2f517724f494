package command

import (
	"context"
	"flag"
	"fmt"
	"runtime"
)

func versionCommand(*flag.FlagSet) func(context.Context, *environment, []string) error {
	return func(_ context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		fmt.Fprintf(env.out, "iam-relay %s (%s %s/%s)\n", env.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	}
}
