package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/iam-relay/iam-relay/mapping/spelling"
)

// suggestionDistance is how many letters of a command may be wrong for it to be suggested.
const suggestionDistance = 2

// withDefault returns a command that does the same as first if it is called without a subcommand. parent has the name and the
// texts; first is called twice, since a flag belongs to one command.
func withDefault(parent *cobra.Command, first func() *cobra.Command, others ...*cobra.Command) *cobra.Command {
	alone := first()
	alone.Use = strings.Replace(alone.Use, alone.Name(), parent.Name(), 1)
	alone.Short, alone.Long, alone.Example = parent.Short, parent.Long, parent.Example
	alone.SuggestionsMinimumDistance = suggestionDistance
	alone.AddCommand(first())
	alone.AddCommand(others...)
	return alone
}

// noArguments refuses arguments; in a command with subcommands, as an unknown one.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return unknownCommand(cmd, args[0])
	}
	return unexpectedArgument(cmd, args[0])
}

// oneArgument wants exactly one argument, which the usage line calls name.
func oneArgument(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return &usageError{fmt.Sprintf("%s needs %s; see %s --help", cmd.CommandPath(), name, cmd.CommandPath())}
		}
		return optionalArgument(cmd, args)
	}
}

// optionalArgument wants one argument or none.
func optionalArgument(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return unexpectedArgument(cmd, args[1])
	}
	return nil
}

func unexpectedArgument(cmd *cobra.Command, argument string) error {
	if strings.HasSuffix(argument, ".toml") {
		return &usageError{fmt.Sprintf("unexpected argument %q; name the configuration file with --config", argument)}
	}
	return &usageError{fmt.Sprintf("unexpected argument %q; see %s --help", argument, cmd.CommandPath())}
}

// unknownCommand suggests the command that was probably meant.
func unknownCommand(parent *cobra.Command, name string) error {
	if suggestion := suggestedCommand(parent, name); suggestion != "" {
		return &usageError{fmt.Sprintf("unknown command %q; did you mean %q?", name, strings.TrimPrefix(parent.CommandPath()+" "+suggestion, "iam-relay "))}
	}
	return &usageError{fmt.Sprintf("unknown command %q; see %s --help", name, parent.CommandPath())}
}

// suggestedCommand returns the subcommand whose name is like the given one, or "".
func suggestedCommand(parent *cobra.Command, name string) string {
	suggestions := parent.SuggestionsFor(name)
	if nearest := spelling.Nearest(name, suggestions); nearest != "" || len(suggestions) == 0 {
		return nearest
	}
	return suggestions[0]
}

// flagError says what is wrong with a flag, and which one was probably meant.
func (env *environment) flagError(cmd *cobra.Command, err error) error {
	if cmd.HasAvailableSubCommands() { // a mistyped subcommand hides that its flags are right
		if _, rest, findErr := cmd.Root().Find(env.args); findErr == nil {
			cmd.FParseErrWhitelist.UnknownFlags = true
			if cmd.ParseFlags(rest) == nil {
				if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
					return err
				}
			}
		}
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		given, name := "--"+unknown.GetSpecifiedName(), unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" { // as in -json
			given, name = "-"+short, short
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if nearest := spelling.Nearest(name, known); nearest != "" {
			return &usageError{fmt.Sprintf("unknown flag %s; did you mean --%s?", given, nearest)}
		}
		return &usageError{fmt.Sprintf("unknown flag %s; see %s --help", given, cmd.CommandPath())}
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return &usageError{fmt.Sprintf("--%s needs a value; see %s --help", missing.GetFlag().Name, cmd.CommandPath())}
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return &usageError{fmt.Sprintf("--%s: %s", invalid.GetFlag().Name, invalidValue(invalid))}
	}
	return &usageError{err.Error()}
}

// invalidValue says what is wrong with a flag's value.
func invalidValue(err *pflag.InvalidValueError) string {
	switch kind := err.GetFlag().Value.Type(); kind {
	case "int", "int64", "float64":
		return fmt.Sprintf("%q is not a number", err.GetValue())
	case "bool":
		return fmt.Sprintf("%q is not true or false", err.GetValue())
	case "duration":
		return fmt.Sprintf("%q is not a duration; write it with its unit, as 90s, 5m or 24h", err.GetValue())
	}
	return err.Unwrap().Error()
}

// jsonFlag declares --json.
func (env *environment) jsonFlag(cmd *cobra.Command, usage string) {
	cmd.Flags().BoolVar(&env.json, "json", false, usage)
}
