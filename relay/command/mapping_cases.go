package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/mappingcase"
)

// caseJSON is the result of a case.
type caseJSON struct {
	Case   string   `json:"case"`
	Passed bool     `json:"passed"`
	Error  string   `json:"error,omitempty"`
	Diff   []string `json:"diff,omitempty"`
}

func mappingTestCommand(env *environment) *cobra.Command {
	var server, mappingName string
	var update bool
	cmd := &cobra.Command{
		Use:   "test --url URL [DIR | FILE]...",
		Short: "Run the test cases of a mapping",
		Long: `Run test cases: files of SQL with the events that each transaction must make. A directory stands for all .sql files in it that contain
transactions. Each case gets a separate database on the server, which is dropped afterwards; the role must be allowed to create databases and to replicate, and
wal_level must be logical. The other databases are not touched.

It exits with 1 if a case does not pass.`,
		Example: `  iam-relay mapping test --url postgres://localhost/postgres cases/
  iam-relay mapping test --url postgres://localhost/postgres --update cases/user.sql`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if server == "" {
				return &usageError{"--url is required: a server for tests, where the role may create databases"}
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			files, err := caseFiles(args)
			if err != nil {
				return err
			}
			return env.testCases(cmd.Context(), files, server, mappingName, update)
		},
	}
	cmd.Flags().StringVar(&server, "url", "", "server for the databases of the cases, as a `URL`; keep the password in PGPASSWORD or a password file")
	cmd.Flags().StringVar(&mappingName, "mapping", "", "mapping of the cases that name none: a `FILE`, or preset:NAME")
	cmd.Flags().BoolVar(&update, "update", false, "write the events that came into the files")
	env.jsonFlag(cmd, "print JSON, one line per case")
	return cmd
}

// caseFiles returns the files that the arguments stand for, sorted within a directory.
func caseFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		err := filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if path == arg || filepath.Ext(path) == ".sql" && mappingcase.IsCase(path) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, &usageError{"look for cases: " + err.Error()}
		}
	}
	if files == nil {
		return nil, &usageError{"there is no case in " + strings.Join(args, ", ") + "; a case is a .sql file with lines such as: -- transaction: a user is created"}
	}
	return files, nil
}

func (env *environment) testCases(ctx context.Context, files []string, server, mappingName string, update bool) error {
	failed := 0
	for _, file := range files {
		result := caseJSON{Case: file}
		var err error
		result.Diff, err = testCase(ctx, file, server, mappingName, update)
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case err != nil:
			result.Error = err.Error()
		}
		if result.Passed = err == nil && result.Diff == nil; !result.Passed {
			failed++
		}
		if env.json {
			err = writeLine(env.out, result)
			if err != nil {
				return err
			}
			continue
		}
		env.printCase(result)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s did not pass", failed, count(len(files), "case"))
	}
	return nil
}

func (env *environment) printCase(result caseJSON) {
	if result.Passed {
		env.say("%s %s", checkMarks[checkOK], result.Case)
		return
	}
	env.say("%s %s", checkMarks[checkFailed], result.Case)
	for line := range strings.SplitSeq(result.Error, "\n") {
		if line != "" {
			env.say("  %s", line)
		}
	}
	for _, line := range result.Diff {
		env.say("  %s", line)
	}
}

// testCase runs a case and returns how its events differ, or writes them into its file.
func testCase(ctx context.Context, file, server, mappingName string, update bool) (diff []string, err error) {
	c, err := mappingcase.Read(file)
	if err != nil {
		return nil, err
	}
	if c.Mapping != "" {
		mappingName = c.Mapping
	}
	rules, err := loadCaseRules(mappingName)
	if err != nil {
		return nil, err
	}
	got, err := c.Run(ctx, server, rules)
	if err != nil {
		return nil, err
	}
	if update {
		return nil, c.Update(got)
	}
	return slices.Clip(c.Diff(got)), nil
}

// loadCaseRules loads the mapping of a case: a file, or preset:NAME.
func loadCaseRules(name string) (*mapping.Rules, error) {
	if name == "" {
		return nil, errors.New("the case names no mapping; add a line such as -- mapping: mapping.toml, or name one on the command line")
	}
	if preset, ok := strings.CutPrefix(name, presetPrefix); ok {
		return mapping.Load(mapping.Options{Preset: preset})
	}
	return mapping.Load(mapping.Options{File: name})
}
