package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/spelling"
)

// Matches reports whether one of the patterns matches the event's name. A pattern is a name in which one word may be a
// star, which stands for one or more words: "user.created", "user.*" (user.role.assigned too), "*.deleted", "*".
func Matches(patterns []string, event string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, event) })
}

func matches(pattern, event string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == event
	}
	return len(event) > len(before)+len(after) && strings.HasPrefix(event, before) && strings.HasSuffix(event, after)
}

// CheckPattern reports what is wrong with the form of a pattern.
func CheckPattern(pattern string) error {
	if pattern == "" {
		return errors.New("an event pattern is empty")
	}
	stars := 0
	for word := range strings.SplitSeq(pattern, ".") {
		switch {
		case word == "*":
			stars++
		case word == "":
			return fmt.Errorf("event pattern %q has an empty word between its dots", pattern)
		case strings.Contains(word, "*"):
			return fmt.Errorf(`event pattern %q: a star stands for whole words, as in "user.*" or "*.deleted"`, pattern)
		case strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }):
			return fmt.Errorf("event pattern %q has a character that no event name has", pattern)
		}
	}
	if stars > 1 {
		return fmt.Errorf("event pattern %q has more than one star; list several patterns instead", pattern)
	}
	return nil
}

// CheckPatterns reports every pattern that is malformed or matches none of the known event names: it would wait for ever
// for an event that never comes.
func CheckPatterns(patterns, known []string) error {
	var problems []error
	for _, p := range patterns {
		if err := CheckPattern(p); err != nil {
			problems = append(problems, err)
			continue
		}
		if slices.ContainsFunc(known, func(name string) bool { return matches(p, name) }) {
			continue
		}
		if near := spelling.Nearest(p, known); near != "" {
			problems = append(problems, fmt.Errorf("event pattern %q matches no event; did you mean %q?", p, near))
		} else {
			problems = append(problems, fmt.Errorf("event pattern %q matches no event", p))
		}
	}
	return errors.Join(problems...)
}
