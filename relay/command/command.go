// Package command is the command line: one file per command.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

// environment is what a command gets from the process.
type environment struct {
	version string
	environ []string
	out     io.Writer // results
	err     io.Writer // logs and errors
	// log is set by a command that logs, so that the error which ends it is written in the log's format.
	log *slog.Logger
}

// command is one of the program's commands.
type command struct {
	name    string
	summary string
	// flags declares the command's options and returns what runs it.
	flags func(*flag.FlagSet) func(ctx context.Context, env *environment, args []string) error
}

// commands in the order of the usage text.
var commands = []command{
	{"run", "read the IAM's log and deliver its events", runCommand},
	{"demo", "show every documented event, on a PostgreSQL and a receiver of its own", demoCommand},
	{"setup", "make what the relay needs in the IAM's database, or print the SQL for it", setupCommand},
	{"check", "try every precondition, and say how to mend what fails", checkCommand},
	{"status", "show how far the relay has come, and how each webhook stands", statusCommand},
	{"events", "list, show and follow the events of the log", eventsCommand},
	{"deliveries", "list and show deliveries, and retry or skip those that failed", deliveriesCommand},
	{"replay", "deliver events of the log once more", replayCommand},
	{"reconcile", "find what the log did not tell, and tell it", reconcileCommand},
	{"erase", "erase one resource's data from the log", eraseCommand},
	{"webhooks", "list, make, change, stop and try webhooks", webhooksCommand},
	{"init", "write a configuration file", initCommand},
	{"presets", "list the built-in mappings, or print one", presetsCommand},
	{"verify", "check the signature of a captured request, as a receiver should", verifyCommand},
	{"teardown", "drop the slot, the publication and the relay's tables", teardownCommand},
	{"version", "print the version", versionCommand},
}

var errInterrupted = errors.New("interrupted")

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Main runs the command line and returns the process's exit code. The first SIGINT or SIGTERM asks the command to end in
// order, a second one ends the process at once.
func Main(version string, args, environ []string, out, errOut io.Writer) int {
	results := &checkedWriter{to: out}
	env := &environment{version: versionOf(version), environ: environ, out: results, err: errOut}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal has its usual effect
	err := dispatch(ctx, env, args)
	switch failed := results.err; {
	case failed == nil:
	case err == nil || errors.Is(err, failed):
		err = fmt.Errorf("write the result: %w", failed)
	default:
		err = errors.Join(err, fmt.Errorf("write the result: %w", failed))
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	// What a signal has cut short fails in words that nobody needs who has sent it.
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
		err = errInterrupted
	}
	env.report(err)
	if isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// report writes the error that ends a command: as a line of the log where the log is JSON, else as text for a person.
func (env *environment) report(err error) {
	if env.log == nil {
		fmt.Fprintln(env.err, "iam-relay:", err)
		return
	}
	env.log.Error("stopped by an error", "err", err.Error())
}

// isUsage tells mistakes of the command line and of the configuration from failures.
func isUsage(err error) bool {
	if _, ok := errors.AsType[*usageError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[*mapping.Error](err)
	return ok
}

func dispatch(ctx context.Context, env *environment, args []string) error {
	if len(args) == 0 {
		usage(env.err)
		return &usageError{"which command?"}
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		usage(env.out)
		return nil
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		return &usageError{fmt.Sprintf("there is no command %q; iam-relay help lists them", args[0])}
	}
	flags := flag.NewFlagSet("iam-relay "+args[0], flag.ContinueOnError)
	flags.SetOutput(env.err)
	run := commands[i].flags(flags)
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &usageError{err.Error()}
	}
	return run(ctx, env, flags.Args())
}

func usage(w io.Writer) {
	fmt.Fprint(w, "iam-relay sends webhooks for the changes of an IAM's PostgreSQL database.\n\nUsage: iam-relay COMMAND [OPTIONS]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\niam-relay COMMAND --help lists a command's options.\n")
}

// noArguments refuses what is left behind the options.
func noArguments(args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Sprintf("unexpected argument %q", args[0])}
	}
	return nil
}

// configFlag declares --config, which nearly every command has.
func configFlag(flags *flag.FlagSet) *string {
	return flags.String("config", "config.toml", "the configuration `file`")
}

// logger logs as the configuration says.
func (env *environment) logger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil { // the configuration was validated
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		env.log = slog.New(slog.NewJSONHandler(env.err, options))
		return env.log
	}
	return slog.New(slog.NewTextHandler(env.err, options))
}

// versionOf falls back to what the Go toolchain knows of the build.
func versionOf(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
