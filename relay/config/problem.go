package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is a configuration that cannot be used: every problem that was found. The program ends with exit code 2.
type Error struct{ Problems []Problem }

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one thing that is wrong. It never contains a secret.
type Problem struct {
	Place Place
	// Key is the option's full name, as delivery.timeout or webhook[0].url; empty where the file as a whole is meant.
	Key string
	// Text says what is wrong and what to do.
	Text string
}

func (p Problem) String() string {
	parts := slices.DeleteFunc([]string{p.Place.String(), p.Key, p.Text}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// Problem is one with an option, for those who find it only when they use the option.
func (c *Config) Problem(key, text string) Problem {
	return Problem{Place: c.places.of(key), Key: key, Text: text}
}

// Place is where an option was set.
type Place struct {
	// File is the configuration file, or empty.
	File string
	// Line counts from 1; 0 where the option is missing from the file.
	Line int
	// Variable is the environment variable, or empty.
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

// problems collects Problems, at most one for each key and its *_file twin: what follows from a first one is noise.
type problems struct {
	places places
	list   []Problem
}

func (ps *problems) add(key, format string, args ...any) {
	twin := strings.TrimSuffix(key, "_file")
	if key != "" && slices.ContainsFunc(ps.list, func(p Problem) bool { return strings.TrimSuffix(p.Key, "_file") == twin }) {
		return
	}
	ps.list = append(ps.list, Problem{Place: ps.places.of(key), Key: key, Text: fmt.Sprintf(format, args...)})
}

// err returns an *Error, in the order of the file, or nil.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int { return cmp.Compare(a.Place.Line, b.Place.Line) })
	return &Error{ps.list}
}
