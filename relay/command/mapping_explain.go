package command

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/mappingcase"
)

func mappingExplainCommand(env *environment) *cobra.Command {
	var flags mappingFlags
	var sqlFile, publication string
	var follow bool
	cmd := &cobra.Command{
		Use:   "explain --follow | --sql FILE [FILE | preset:NAME]",
		Short: "Explain which events transactions make, and why",
		Long: `Explain, for each transaction, which mapped rows it changed and what each rule made of them: fired, delayed, canceled, grouped,
absorbed by a parent, unchanged, or a condition that is false, with the values it reads. Secrets and hashed columns are not shown.

With --follow, read the transactions of the IAM's database as they are committed, through a slot that is dropped at the end; all mapped rows are kept in memory.
Without --publication, a publication is created and dropped as well, which takes the owner of the tables.

With --sql, run a test case in a separate database, as mapping test does.`,
		Example: `  iam-relay mapping explain --follow --publication iam_relay
  iam-relay mapping explain --sql cases/user.sql --url postgres://localhost/postgres`,
		Args: optionalArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow == (sqlFile != "") {
				return &usageError{"give either --follow or --sql FILE"}
			}
			if sqlFile != "" {
				return env.explainCase(cmd.Context(), sqlFile, flags.url, args)
			}
			in, err := env.mappingInput(args, flags)
			if err != nil {
				return err
			}
			return env.explainSource(cmd.Context(), in, publication)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&follow, "follow", false, "explain transactions as they are committed, until interrupted")
	cmd.Flags().StringVar(&sqlFile, "sql", "", "explain the transactions of a test case, a `FILE`; --url is a server where the role may create databases")
	cmd.Flags().StringVar(&publication, "publication", "", "`NAME` of an existing publication with the mapped tables")
	env.jsonFlag(cmd, "print JSON, one line per transaction")
	return cmd
}

func (env *environment) explainCase(ctx context.Context, file, server string, args []string) error {
	if server == "" {
		return &usageError{"--sql needs --url: a server for tests, where the role may create databases"}
	}
	c, err := mappingcase.Read(file)
	if err != nil {
		return err
	}
	name := c.Mapping
	if len(args) > 0 {
		name = args[0]
	}
	rules, err := loadCaseRules(name)
	if err != nil {
		return err
	}
	return c.Explain(ctx, server, rules, env.printExplanation)
}

func (env *environment) explainSource(ctx context.Context, in mappingInput, publication string) error {
	if in.url == "" {
		return &usageError{"no database given; name it with --url"}
	}
	rules, err := mapping.Load(in.options)
	if err != nil {
		return err
	}
	ready := func() { env.say("waiting for transactions; end with Ctrl-C") }
	err = mappingcase.Follow(ctx, in.url, publication, rules, ready, env.printExplanation)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (env *environment) printExplanation(e mappingcase.Explanation) {
	if env.json {
		_ = writeLine(env.out, e) // Main reports a failed write.
		return
	}
	title := ""
	if e.Title != "" {
		title = ": " + e.Title
	}
	env.say("transaction %s at %s%s", e.LSN, timeText(e.Time), visible(title))
	env.say("  %s in mapped tables, %s after folding", count(e.Changes, "change"), count(len(e.Rows), "row"))
	for _, row := range e.Rows {
		changed := ""
		if row.Changed != nil {
			changed = " (" + strings.Join(row.Changed, ", ") + ")"
		}
		env.say("  %s %s %s%s", row.Op, row.Table, visible(row.Key), changed)
		if len(row.Rules) == 0 {
			env.say("    no rule for it")
		}
		for _, rule := range row.Rules {
			detail := ""
			if rule.Detail != "" {
				detail = ": " + visible(strings.Join(strings.Fields(rule.Detail), " "))
			}
			env.say("    %s  %s%s  (%s)", rule.Event, rule.Outcome, detail, rule.At)
		}
	}
	for _, line := range e.Events {
		env.say("  → %s", visible(line))
	}
	env.say("")
}
