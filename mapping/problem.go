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

// Problem is one mistake in a mapping, or one thing that the database lacks.
type Problem struct {
	File string
	Line int
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Error holds every problem that was found at once, in the order of the files.
type Error struct {
	Problems []Problem
}

// Error gives one problem per line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems collects what is wrong, so that all of it can be said at once.
type problems []Problem

func (p *problems) add(at position, format string, args ...any) {
	*p = append(*p, Problem{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...)})
}

// parse reads a TOML document.
func parse(file string, source []byte) (*tomlpos.Node, error) {
	root, _, err := tomlpos.Parse(file, source)
	if syntax, ok := errors.AsType[*tomlpos.SyntaxError](err); ok {
		var p problems
		p.add(syntax.At, "%s", syntax.Text())
		return nil, p.err()
	}
	return root, err
}

// err returns nil or an *Error. Files keep the order in which they were first mentioned.
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

// suggest returns the end of a message: the candidate that was probably meant, or else all of them if they are few.
func suggest(name string, candidates []string) string {
	if near := spelling.Nearest(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	return "; known: " + strings.Join(candidates, ", ")
}
