package command

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay"
)

func runCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the relay",
		Long: `Run the relay: read the WAL, store the events in the outbox and deliver them, until SIGINT
or SIGTERM. The first start copies the mapped tables; no events are emitted for rows that
exist already. Several relays may run at once: one reads, all deliver.`,
		Example: "  iam-relay run --config /etc/iam-relay/config.toml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := env.loadConfig()
			if err != nil {
				return err
			}
			log := env.logger(cfg.Log, slog.LevelDebug)
			r, err := relay.New(cfg, env.version, log)
			if err != nil {
				return err
			}
			log.Info("starting", "version", env.version, "admin", r.AdminAddr())
			if err := r.Run(cmd.Context()); err != nil {
				return err
			}
			log.Info("stopped")
			return nil
		},
	}
}
