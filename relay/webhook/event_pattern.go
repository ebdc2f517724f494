package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/spelling"
)

// Matches reports whether any of the patterns matches the event's name. A pattern is a name in which one word may be a star, which
// stands for one or more words: "user.created", "user.*" (also matches user.role.assigned), "*.deleted", "*".
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

// CheckPattern returns why a pattern is malformed.
func CheckPattern(pattern string) error {
	if pattern == "" {
		return errors.New("an event pattern is empty; remove it, or write * for all events")
	}
	stars := 0
	for word := range strings.SplitSeq(pattern, ".") {
		switch {
		case word == "*":
			stars++
		case word == "":
			return fmt.Errorf("event pattern %q has an empty word; remove the extra dot", pattern)
		case strings.Contains(word, "*"):
			return fmt.Errorf(`event pattern %q: a star stands for whole words; write "user.*" or "*.deleted"`, pattern)
		case strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }):
			return fmt.Errorf("event pattern %q contains a space or another character that event names do not have; remove it", pattern)
		}
	}
	if stars > 1 {
		return fmt.Errorf("event pattern %q has more than one star; list several patterns instead", pattern)
	}
	return nil
}

// CheckPatterns returns every pattern that is malformed or matches none of the known event names.
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
			problems = append(problems, fmt.Errorf("event pattern %q matches no event of the mapping; correct or remove it", p))
		}
	}
	return errors.Join(problems...)
}
