// Package command is the command line: one file per command.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/iam-relay/iam-relay/relay/config"
)

// environment is what a command gets from the process, and the options that most commands share.
type environment struct {
	version string
	args    []string
	environ []string
	out     io.Writer // results
	err     io.Writer // logs and errors
	// log is set by a command that logs as JSON, so that the error that ends it is a line of that log.
	log *slog.Logger

	configFile    string // --config
	hasConfigFile bool   // --config was given
	json          bool   // --json
}

var errInterrupted = errors.New("interrupted")

// Main runs the command line and returns the exit code of the process. The first SIGINT or SIGTERM ends the command in
// order, a second one ends the process at once.
func Main(version string, args, environ []string, out, errOut io.Writer) int {
	results := &checkedWriter{to: out}
	env := &environment{version: versionOf(version), args: args, environ: environ, out: results, err: errOut}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal has its usual effect
	err := env.run(ctx)
	switch failed := results.err; {
	case failed == nil:
	case err == nil || errors.Is(err, failed):
		err = fmt.Errorf("write the result: %w", failed)
	default:
		err = errors.Join(err, fmt.Errorf("write the result: %w", failed))
	}
	// What a signal cuts short fails with messages that are of no use to the sender of the signal.
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
		err = errInterrupted
	}
	if err != nil {
		env.report(err)
	}
	return exitCode(err)
}

func (env *environment) run(ctx context.Context) error {
	root := newRoot(env)
	root.SetArgs(append([]string{}, env.args...)) // cobra takes nil for the arguments of the process
	return root.ExecuteContext(ctx)
}

// report writes the error that ends a command: as a line of the log where the log is JSON, else as text.
func (env *environment) report(err error) {
	if env.log == nil {
		fmt.Fprintln(env.err, "iam-relay:", err)
		return
	}
	env.log.Error("stopped by an error", "err", err.Error())
}

// logger logs as the configuration says, but nothing below the given level.
func (env *environment) logger(c config.Log, least slog.Level) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil { // the configuration was validated
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: max(level, least)}
	if c.Format == "json" {
		env.log = slog.New(slog.NewJSONHandler(env.err, options))
		return env.log
	}
	return slog.New(slog.NewTextHandler(env.err, options))
}

// versionOf falls back to the version in Go's build information.
func versionOf(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// warn prints a warning beside the result.
func (env *environment) warn(format string, args ...any) {
	fmt.Fprintf(env.err, "iam-relay: warning: "+format+"\n", args...)
}

// say prints a line of text for a person; with --json there is none.
func (env *environment) say(format string, args ...any) {
	if !env.json {
		fmt.Fprintf(env.out, format+"\n", args...)
	}
}
