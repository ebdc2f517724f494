package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// The states of a check, and their marks in the text.
const (
	checkOK      = "ok"
	checkFailed  = "failed"
	checkWarning = "warning"
	checkPending = "pending" // not there yet, and created by the relay; or not known yet
)

var checkMarks = map[string]string{checkOK: "✓", checkFailed: "✗", checkWarning: "!", checkPending: "—"}

// checkResult is one line of check.
type checkResult struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Text  string `json:"text"` // with the fix
	Fix   string `json:"fix,omitempty"`
}

// check tries the prerequisites one after another and reports a result for each.
type check struct {
	*environment
	results []checkResult
	failed  int
	verbose bool

	path  string
	cfg   *config.Config
	rules *mapping.Rules
	// position is the stored one; nil if the outbox has none yet, or could not be read.
	position *outbox.Position
	leader   int              // process of the leading relay's session, 0 if none leads
	stuck    string           // what a commit of the outbox waits for
	webhooks []outbox.Webhook // in the outbox
	clocks   []clockReading
}

func checkCommand(env *environment) *cobra.Command {
	var endpoints, verbose bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the prerequisites, and suggest fixes",
		Long: `Check the configuration, the databases and the webhooks, and print a line for each prerequisite:
✓ met, ✗ not met, ! met but risky, — not applicable, or not known yet. Nothing is changed.
It exits with 1 if a prerequisite is not met.`,
		Example: `  iam-relay check --endpoints
  iam-relay check --json | jq '.[] | select(.state == "failed")'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := env.configPath()
			if err != nil {
				return err
			}
			c := &check{environment: env, path: path, verbose: verbose}
			c.run(cmd.Context(), endpoints)
			if env.json {
				err = writeObject(env.out, c.results)
			}
			switch {
			case err != nil:
				return err
			case cmd.Context().Err() != nil:
				return errInterrupted
			case c.failed == 1:
				return errors.New("1 prerequisite is not met")
			case c.failed > 0:
				return fmt.Errorf("%d prerequisites are not met", c.failed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&endpoints, "endpoints", false, "also connect to the URL of each webhook; nothing is sent")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "print a line for each missing grant instead of a summary")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (c *check) run(ctx context.Context, endpoints bool) {
	if !c.configuration() {
		return
	}
	c.spill()
	c.outbox(ctx)
	c.source(ctx)
	c.compareClocks()
	c.checkWebhooks()
	if endpoints {
		c.endpoints(ctx)
	}
}

func (c *check) result(state, name, format string, args ...any) {
	if state == checkFailed {
		c.failed++
	}
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	r := checkResult{Name: name, State: state, Text: text}
	if state == checkFailed || state == checkWarning {
		_, r.Fix, _ = strings.Cut(text, "; ") // messages have the form problem; fix
	}
	c.results = append(c.results, r)
	c.say("%s %-12s %s", checkMarks[state], name, text)
}

func (c *check) ok(name, format string, args ...any)   { c.result(checkOK, name, format, args...) }
func (c *check) fail(name, format string, args ...any) { c.result(checkFailed, name, format, args...) }

func (c *check) warning(name, format string, args ...any) {
	c.result(checkWarning, name, format, args...)
}

func (c *check) pending(name, format string, args ...any) {
	c.result(checkPending, name, format, args...)
}

// configuration loads the configuration and the mapping, without which nothing else can be checked.
func (c *check) configuration() bool {
	var err error
	if c.cfg, err = config.Load(c.path, c.environ); err != nil {
		c.lines("config", err)
		return false
	}
	c.ok("config", "%s", c.path)
	if c.rules, err = relay.Rules(c.cfg); err != nil {
		c.lines("mapping", err)
		return false
	}
	c.ok("mapping", "%d events of %d tables", len(c.rules.EventNames()), len(c.rules.Tables()))
	return true
}

// lines reports each line of an error with several problems.
func (c *check) lines(what string, err error) {
	for text := range strings.SplitSeq(err.Error(), "\n") {
		c.fail(what, "%s", text)
	}
}

// spill creates a file as a large transaction does. In a container, or under systemd's protection, no directory may be writable,
// which would otherwise show only with the first large transaction, and stop the relay.
func (c *check) spill() {
	dir := cmp.Or(c.cfg.Source.SpillDir, os.TempDir())
	file, err := os.CreateTemp(dir, "iam-relay-check-*")
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err
		}
		c.fail("spill", "cannot create a temporary file for large transactions in %s: %s; make it writable, or set source.spill_dir to another directory", dir, err)
		return
	}
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		c.fail("spill", "%s", err)
		return
	}
	c.ok("spill", "large transactions go into temporary files in %s", dir)
}

// source checks the IAM's database.
func (c *check) source(ctx context.Context) {
	conn, err := connect(ctx, string(c.cfg.Source.URL))
	if err != nil {
		c.fail("source", "%s", err)
		return
	}
	defer closeConn(ctx, conn)
	c.readClock(ctx, conn, "the source's server")
	server, err := cdc.InspectServer(ctx, conn)
	if err != nil {
		c.fail("source", "%s", err)
		return
	}
	source := &sourceCheck{check: c, conn: conn, server: server, role: conn.Config().User}
	source.run(ctx)
}
