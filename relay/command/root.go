package command

import (
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// The groups of commands in the help text.
const (
	groupStart   = "start"
	groupObserve = "observe"
	groupOperate = "operate"
	groupTools   = "tools"
)

// Root returns the tree of commands, for generators of documentation.
func Root(version string) *cobra.Command {
	return newRoot(&environment{version: versionOf(version)})
}

func newRoot(env *environment) *cobra.Command {
	cobra.EnableCommandSorting = false // the order of use says more
	root := &cobra.Command{
		Use:   "iam-relay",
		Short: "Webhooks for the IAM database you already run",
		Long: `IAM Relay reads the committed changes of an IAM's PostgreSQL database from its WAL and delivers them as signed webhooks.

Exit codes: 0 success, also of a dry run; 1 the command failed, was interrupted, or reports a problem; 2 wrong command line or configuration, nothing was done.`,
		Example: `  iam-relay init --url postgres://iam_relay@db/iam
  iam-relay setup --url postgres://owner@db/iam
  iam-relay check
  iam-relay run`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{"no command given; run iam-relay help"}
		},
		Version:                    env.version,
		SilenceErrors:              true, // Main reports them, once
		SilenceUsage:               true,
		DisableAutoGenTag:          true,
		SuggestionsMinimumDistance: suggestionDistance, // cobra has no default for SuggestionsFor
	}
	root.SetOut(env.out)
	root.SetErr(env.err)
	root.SetVersionTemplate(env.versionLine() + "\n")
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetFlagErrorFunc(env.flagError)
	root.PersistentFlags().StringVarP(&env.configFile, "config", "c", "",
		"configuration `FILE`; default: IAM_RELAY_CONFIG, ./config.toml or "+systemConfig)
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { env.hasConfigFile = cmd.Flags().Changed("config") }
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Get started:"},
		&cobra.Group{ID: groupObserve, Title: "Observe:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
		&cobra.Group{ID: groupTools, Title: "Tools:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupStart, initCommand(env), setupCommand(env), checkCommand(env), runCommand(env))
	add(groupObserve, statusCommand(env), eventsCommand(env), deliveriesCommand(env))
	add(groupOperate, webhooksCommand(env), replayCommand(env), reconcileCommand(env), eraseCommand(env), teardownCommand(env))
	add(groupTools, mappingCommand(env), presetsCommand(env), verifyCommand(env), completionCommand(), versionCommand(env))
	help := helpCommand()
	help.GroupID = groupTools
	root.SetHelpCommand(help)
	wrapTexts(root)
	return root
}

// lineWidth is that of help texts.
const lineWidth = 80

// wrapTexts wraps the paragraphs of the long texts, which are written as single lines or broken anywhere.
func wrapTexts(cmd *cobra.Command) {
	paragraphs := strings.Split(cmd.Long, "\n\n")
	for i, p := range paragraphs {
		var text strings.Builder
		column := 0
		for word := range strings.FieldsSeq(p) {
			switch {
			case column == 0:
			case column+1+utf8.RuneCountInString(word) > lineWidth:
				text.WriteByte('\n')
				column = 0
			default:
				text.WriteByte(' ')
				column++
			}
			text.WriteString(word)
			column += utf8.RuneCountInString(word)
		}
		paragraphs[i] = text.String()
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	for _, c := range cmd.Commands() {
		wrapTexts(c)
	}
}

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

// usageTemplate differs from cobra's: examples and commands come before the flags, and usage lines are not repeated.
const usageTemplate = `Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if and .Runnable .HasParent}}
  {{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{$c := .}}{{if .HasAvailableSubCommands}}{{if .Groups}}{{range $g := .Groups}}

{{$g.Title}}{{range $c.Commands}}{{if and (eq .GroupID $g.ID) (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{else}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Global flags:
{{.InheritedFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

Run "{{.CommandPath}} COMMAND --help" for more about a command.{{end}}
`

// helpCommand is help COMMAND.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		Long:  "Show the help of a command or subcommand.",
		Example: `  iam-relay help check
  iam-relay help webhooks add`,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(topic, rest[0])
			}
			topic.InitDefaultHelpFlag()
			topic.InitDefaultVersionFlag()
			return topic.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			topic, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range topic.Commands() {
				if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), prefix) {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// completionCommand prints a script for a shell.
func completionCommand() *cobra.Command {
	shells := map[string]func(*cobra.Command) error{
		"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(root.OutOrStdout(), true) },
		"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(root.OutOrStdout()) },
		"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(root.OutOrStdout(), true) },
		"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(root.OutOrStdout()) },
	}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a shell completion script",
		Long:  "Print a script that completes commands and flags in a shell.",
		Example: `  source <(iam-relay completion bash)
  iam-relay completion bash > /etc/bash_completion.d/iam-relay
  iam-relay completion zsh > "${fpath[1]}/_iam-relay"
  iam-relay completion fish > ~/.config/fish/completions/iam-relay.fish`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      oneArgument("SHELL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := shells[args[0]]
			if !ok {
				return &usageError{"no completion for shell " + visible(args[0]) + "; there is bash, zsh, fish and powershell"}
			}
			return write(cmd.Root())
		},
	}
}
