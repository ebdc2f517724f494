package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// mappingCheck is the result of mapping check.
type mappingCheck struct {
	Mapping  string            `json:"mapping"`
	Database string            `json:"database,omitempty"` // empty: not compared with a database
	Problems []mappingProblem  `json:"problems"`
	Warnings []string          `json:"warnings,omitempty"`
	Tables   []mappedTableJSON `json:"tables,omitempty"`
	Unmapped []string          `json:"unmapped_tables,omitempty"` // in the schemas of the mapped ones
	rules    *mapping.Rules    // nil if the mapping could not be loaded
	names    databaseNames     // nil without a database
}

// mappingProblem is a mistake, or a mismatch between the mapping and the database.
type mappingProblem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

func (p mappingProblem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// mappedTableJSON is what a mapping makes of a table.
type mappedTableJSON struct {
	Name           string   `json:"name"` // with its schema
	Missing        bool     `json:"missing,omitempty"`
	MissingColumns []string `json:"missing_columns,omitempty"` // optional ones
	Events         []string `json:"events,omitempty"`
	Ignored        []string `json:"ignored,omitempty"`          // columns whose change alone is not an update
	Hashed         []string `json:"hashed,omitempty"`           // columns of which only the SHA-256 is read
	Public         []string `json:"public,omitempty"`           // columns that are declared not to be secrets
	Unmapped       []string `json:"unmapped_columns,omitempty"` // columns that are never read
}

func mappingCheckCommand(env *environment) *cobra.Command {
	var flags mappingFlags
	cmd := &cobra.Command{
		Use:   "check [FILE | preset:NAME]",
		Short: "Check a mapping, and compare it with a database",
		Long: `Check a mapping and print all mistakes, each with its file and line. With a database, also compare it with the tables there, and print which
tables and columns are missing, ignored and not mapped. Only the catalog is read, so any role will do.

It exits with 1 if there is a problem.`,
		Example: `  iam-relay mapping check mapping.toml
  iam-relay mapping check mapping.toml --url postgres://iam_relay@db/iam
  iam-relay mapping check preset:ferriskey --json | jq .problems`,
		Args: optionalArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := env.mappingInput(args, flags)
			if err != nil {
				return err
			}
			return env.checkMapping(cmd.Context(), in)
		},
	}
	flags.add(cmd)
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (env *environment) checkMapping(ctx context.Context, in mappingInput) error {
	c := &mappingCheck{Mapping: in.name, Problems: []mappingProblem{}}
	var err error
	c.rules, err = mapping.Load(in.options)
	if err = c.addProblems(err); err != nil {
		return err
	}
	if c.rules != nil && in.url != "" {
		if err := c.compare(ctx, in.url); err != nil {
			return err
		}
	}
	if c.rules != nil {
		c.describe()
	}
	if env.json {
		err = writeObject(env.out, c)
	} else {
		c.print(env)
	}
	if err == nil && len(c.Problems) > 0 {
		err = fmt.Errorf("the mapping has %s", count(len(c.Problems), "problem"))
	}
	return err
}

// addProblems notes the problems of a mapping. It returns any other error.
func (c *mappingCheck) addProblems(err error) error {
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*mapping.Error](err)
	if !ok || c.rules == nil && invalid.Problems[0].Line == 0 { // There is no such file or preset.
		return err
	}
	for _, p := range invalid.Problems {
		text := p.Text
		if p.Option != "" {
			text = p.String()
		}
		c.Problems = append(c.Problems, mappingProblem{p.File, p.Line, text})
	}
	return nil
}

// compare checks the rules against the tables of a database.
func (c *mappingCheck) compare(ctx context.Context, url string) error {
	conn, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	c.Database = conn.Config().Database
	catalog, err := cdc.ReadCatalog(ctx, conn, c.rules.Tables())
	if err != nil {
		return err
	}
	if c.names, err = readNames(ctx, conn); err != nil {
		return err
	}
	var relations []*cdc.Relation
	for _, t := range c.rules.Mapped {
		if r := catalog.Relation(t.CDC); r != nil {
			relations = append(relations, r)
		}
	}
	mapper, err := mapping.Bind(c.rules, relations)
	if err := c.addProblems(err); err != nil {
		return err
	}
	for i := range c.Problems {
		c.Problems[i].Text += c.suggestion(c.Problems[i].Text)
	}
	c.addCatalogProblems(catalog)
	if mapper != nil {
		if public := mapper.PublicColumns(); public != nil {
			c.Warnings = append(c.Warnings, "declared public although they look like secrets: "+strings.Join(public, ", ")+"; they are stored in the outbox and may be sent")
		}
	}
	return nil
}

// addCatalogProblems adds what Bind does not check: whether the WAL has the rows of the tables. The grants of the role matter to
// the relay and not to the mapping.
func (c *mappingCheck) addCatalogProblems(catalog *cdc.Catalog) {
	for _, p := range catalog.Problems() {
		switch {
		case p.IsMissing(): // reported by Bind
		case strings.HasPrefix(p.Fix, "GRANT"):
		default:
			at := c.position(p)
			text := strings.TrimPrefix(p.String(), "table ")
			c.Problems = append(c.Problems, mappingProblem{at.File, at.Line, text})
		}
	}
	for _, p := range append(catalog.Withheld(), catalog.Warnings()...) {
		if !strings.HasPrefix(p.Fix, "GRANT") {
			c.Warnings = append(c.Warnings, strings.TrimPrefix(p.String(), "table "))
		}
	}
	slices.SortStableFunc(c.Problems, func(a, b mappingProblem) int {
		if a.File != b.File {
			return 0
		}
		return a.Line - b.Line
	})
}

// position is where the mapping names the table or column of a problem.
func (c *mappingCheck) position(p cdc.Problem) rules.Position {
	for _, t := range c.rules.Mapped {
		if qualified(t) != p.Table {
			continue
		}
		if i := t.CDC.Index(p.Column); i >= 0 && i < len(t.FirstNamed) {
			return t.FirstNamed[i]
		}
		return t.At
	}
	return rules.Position{}
}

func qualified(t *rules.Table) string { return t.CDC.Schema + "." + t.CDC.Name }

// describe lists what the mapping makes of each table.
func (c *mappingCheck) describe() {
	for _, t := range c.rules.Mapped {
		found := c.names[qualified(t)]
		table := mappedTableJSON{Name: qualified(t), Missing: c.names != nil && found == nil}
		for _, e := range c.rules.Events {
			if slices.ContainsFunc(e.Rules, func(r *rules.Rule) bool { return r.Table == t }) {
				table.Events = append(table.Events, e.Name)
			}
		}
		for i, column := range t.CDC.Columns {
			switch {
			case column.Hash:
				table.Hashed = append(table.Hashed, column.Name)
			case t.Public[i]:
				table.Public = append(table.Public, column.Name)
			}
			if found != nil && !slices.Contains(found, column.Name) {
				table.MissingColumns = append(table.MissingColumns, column.Name)
			} else if i >= t.CDC.KeyColumns && !t.Watched[i] {
				table.Ignored = append(table.Ignored, column.Name)
			}
		}
		for _, name := range found {
			if t.CDC.Index(name) < 0 {
				table.Unmapped = append(table.Unmapped, name)
			}
		}
		c.Tables = append(c.Tables, table)
	}
	c.Unmapped = c.names.unmapped(c.rules)
}
