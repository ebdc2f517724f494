package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// position is a place in a mapping file. Line 0 is the file as a whole.
type position struct {
	file string
	line int
}

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
	*p = append(*p, Problem{File: at.file, Line: at.line, Text: fmt.Sprintf(format, args...)})
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

// suggest names the candidate that was probably meant, as the end of a message, or lists a few, or is empty.
func suggest(name string, candidates []string) string {
	best, distance := "", min(len(name), len(name)/3+2)
	for _, c := range candidates {
		if d := editDistance(name, c); d < distance {
			best, distance = c, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	return "; there is " + strings.Join(candidates, ", ")
}

// editDistance is Levenshtein's. Names are short; very long ones count as far apart.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
