package command

import (
	"context"

	"github.com/spf13/cobra"
)

// webhookHelp explains the WEBHOOK argument.
const webhookHelp = `WEBHOOK is a name, an origin:key or an id, as iam-relay webhooks lists them.`

func webhooksCommand(env *environment) *cobra.Command {
	return withDefault(&cobra.Command{
		Use:   "webhooks",
		Short: "List, add, change, test and remove webhooks",
		Long: `Manage webhooks, also while a relay is running. Webhooks of the IAM are defined in the IAM, those of
the configuration in its file, and all others with these commands;
list, show, test, enable and disable
work for all of them.`,
		Example: `  iam-relay webhooks
  iam-relay webhooks add --name crm --url https://crm.example.com/ --event 'user.*'
  iam-relay webhooks test crm
  iam-relay webhooks disable crm --reason maintenance`,
	}, func() *cobra.Command { return webhooksListCommand(env) },
		webhooksShowCommand(env), webhooksAddCommand(env), webhooksUpdateCommand(env), webhooksRemoveCommand(env),
		webhooksDisableCommand(env), webhooksEnableCommand(env), webhooksTestCommand(env), webhooksRotateCommand(env), webhooksSecretsCommand(env))
}

// webhookCommand completes a command that takes one webhook and does work on it.
func (env *environment) webhookCommand(cmd *cobra.Command, work func(ctx context.Context, s *session, which string) error) *cobra.Command {
	cmd.Use += " WEBHOOK"
	cmd.Long += "\n" + webhookHelp
	cmd.Args = oneArgument("WEBHOOK")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withOutbox(cmd.Context(), func(ctx context.Context, s *session) error { return work(ctx, s, args[0]) })
	}
	env.jsonFlag(cmd, "print JSON")
	return cmd
}
