package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error holds all problems of an invalid configuration.
type Error struct{ Problems []Problem }

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one mistake in the configuration. It never contains a secret.
type Problem struct {
	Place Place
	// Key is the option's full name, such as delivery.timeout or webhook[0].url; empty for a problem of the whole file.
	Key string
	// Text states what is wrong and what to do.
	Text string
}

func (p Problem) String() string {
	parts := slices.DeleteFunc([]string{p.Place.String(), p.Key, p.Text}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// Problem returns a problem with an option, for callers that detect it only when they use the option.
func (c *Config) Problem(key, text string) Problem {
	return Problem{Place: c.places.of(key), Key: key, Text: text}
}

// Place is where an option was set.
type Place struct {
	// File is the configuration file; empty if there is none.
	File string
	// Line counts from 1; 0 if the option is not in the file.
	Line int
	// Variable is the environment variable; empty if none sets the option.
	Variable string
}

func (p Place) String() string {
	switch {
	case p.Variable != "":
		return "environment variable " + p.Variable
	case p.Line > 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return p.File
}

// problems collects at most one Problem for each option and its *_file variant, because the others usually follow from the
// first.
type problems struct {
	places places
	list   []Problem
}

func (ps *problems) add(key, format string, args ...any) {
	base := strings.TrimSuffix(key, "_file")
	if key != "" && slices.ContainsFunc(ps.list, func(p Problem) bool { return strings.TrimSuffix(p.Key, "_file") == base }) {
		return
	}
	ps.list = append(ps.list, Problem{Place: ps.places.of(key), Key: key, Text: fmt.Sprintf(format, args...)})
}

// err returns an *Error with the problems in the order of the file, or nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int { return cmp.Compare(a.Place.Line, b.Place.Line) })
	return &Error{ps.list}
}
