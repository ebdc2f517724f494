package command

import (
	"fmt"
	"strings"
)

// print writes the result of mapping check as lines in the form of check.
func (c *mappingCheck) print(env *environment) {
	line := func(state, name, format string, args ...any) {
		env.say("%s %-12s %s", checkMarks[state], name, fmt.Sprintf(format, args...))
	}
	for _, p := range c.Problems {
		line(checkFailed, "mapping", "%s", p)
	}
	for _, w := range c.Warnings {
		line(checkWarning, "mapping", "%s", w)
	}
	if c.rules == nil {
		return
	}
	if len(c.Problems) == 0 {
		line(checkOK, "mapping", "%s: %s of %s", c.Mapping, count(len(c.rules.EventNames()), "event"), count(len(c.Tables), "table"))
	}
	switch {
	case c.Database == "":
		line(checkPending, "database", "not compared with a database; name one with --url")
	case len(c.Problems) == 0:
		line(checkOK, "database", "%s has the tables, with their keys and columns", c.Database)
	}
	var missing []string
	for _, t := range c.Tables {
		if len(t.Events) > 0 {
			line(checkOK, "events", "%s: %s", t.Name, strings.Join(t.Events, ", "))
		}
		if t.Missing {
			missing = append(missing, t.Name)
		}
	}
	list := func(name, what string, of func(mappedTableJSON) []string) {
		for _, t := range c.Tables {
			if columns := of(t); len(columns) > 0 {
				line(checkPending, name, "%s: %s of %s", what, strings.Join(columns, ", "), t.Name)
			}
		}
	}
	if len(c.Problems) == 0 {
		if missing != nil {
			line(checkPending, "optional", "not in this database: %s", strings.Join(missing, ", "))
		}
		list("optional", "not in this database", func(t mappedTableJSON) []string { return t.MissingColumns })
	}
	list("ignored", "a change of only these is not an update", func(t mappedTableJSON) []string { return t.Ignored })
	list("hashed", "only the SHA-256 is read", func(t mappedTableJSON) []string { return t.Hashed })
	list("not mapped", "never read", func(t mappedTableJSON) []string { return t.Unmapped })
	if c.Unmapped != nil {
		line(checkPending, "not mapped", "tables that are never read: %s", strings.Join(c.Unmapped, ", "))
	}
}
