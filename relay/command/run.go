package command

import (
	"context"
	"flag"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
)

func runCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		cfg, err := config.Load(*path, env.environ)
		if err != nil {
			return err
		}
		log := env.logger(cfg.Log)
		r, err := relay.New(cfg, env.version, log)
		if err != nil {
			return err
		}
		log.Info("starting", "version", env.version, "admin", r.AdminAddr())
		if err := r.Run(ctx); err != nil {
			return err
		}
		log.Info("stopped")
		return nil
	}
}
