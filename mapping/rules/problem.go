package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Position is a line of a mapping file.
type Position = tomlpos.Position

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
	return Position{File: p.File, Line: p.Line}.String() + ": " + p.Text
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

// Problems collects problems, so that all of them can be reported at once.
type Problems []Problem

// Add adds a problem of a mapping file.
func (p *Problems) Add(at Position, format string, args ...any) {
	*p = append(*p, Problem{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...)})
}

// AddOption adds a problem of an option.
func (p *Problems) AddOption(option, format string, args ...any) {
	*p = append(*p, Problem{Option: option, Text: fmt.Sprintf(format, args...)})
}

// Err returns an *Error, or nil if there are no problems. Files are ordered by their first problem.
func (p Problems) Err() error {
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
