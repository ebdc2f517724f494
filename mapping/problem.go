package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

type position = tomlpos.Position

// Problem is one mistake in a mapping, or one mismatch between the mapping and the database.
type Problem struct {
	// Option is the field of Options that is wrong, as the configuration spells it: preset, resource_id or drop. If it is set,
	// there is no File.
	Option string
	File   string
	Line   int // 0 for the file as a whole
	Text   string
}

func (p Problem) String() string {
	if p.Option != "" {
		return "mapping." + p.Option + ": " + p.Text
	}
	return position{File: p.File, Line: p.Line}.String() + ": " + p.Text
}

// Error holds all problems of a mapping, ordered by file and line.
type Error struct {
	Problems []Problem
}

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems collects problems, so that all of them can be reported at once.
type problems []Problem

func (p *problems) add(at position, format string, args ...any) {
	*p = append(*p, Problem{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...)})
}

func (p *problems) addOption(option, format string, args ...any) {
	*p = append(*p, Problem{Option: option, Text: fmt.Sprintf(format, args...)})
}

// err returns an *Error, or nil if there are no problems. Files are ordered by their first problem.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	var files []string
	for _, one := range p {
		if !slices.Contains(files, one.File) {
			files = append(files, one.File)
		}
	}
	sorted := slices.Clone(p)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		if a.File != b.File {
			return slices.Index(files, a.File) - slices.Index(files, b.File)
		}
		return a.Line - b.Line
	})
	return &Error{Problems: slices.Compact(sorted)}
}

// parse reads a TOML document. An error is an *Error.
func parse(file string, source []byte) (*tomlpos.Node, error) {
	root, _, err := tomlpos.Parse(file, source)
	if syntax, ok := errors.AsType[*tomlpos.SyntaxError](err); ok {
		var p problems
		p.add(syntax.At, "%s", syntax.Text())
		return nil, p.err()
	}
	return root, err
}

// suggest returns the end of a message: the candidate that was probably meant, or else all candidates if they are few.
func suggest(name string, candidates []string) string {
	if near := spelling.Nearest(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	return "; known: " + strings.Join(candidates, ", ")
}
