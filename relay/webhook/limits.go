package webhook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Limits of a webhook, wherever it is defined. Headers are sent with every request, and the whole webhook is kept in memory.
const (
	maxHeaders      = 50
	maxHeaderName   = 128
	maxHeaderValue  = 4 << 10
	maxHeadersBytes = 16 << 10
	maxSecrets      = 20
	maxSecretBytes  = 1 << 10
	maxPatterns     = 500
	maxPatternBytes = 200
)

// CheckLimits returns which limits the URL, secrets and events of a webhook exceed. The error does not contain values.
func CheckLimits(url string, secrets, events []string) error {
	var problems []error
	if len(url) > maxURLBytes {
		problems = append(problems, fmt.Errorf("the URL is longer than %d bytes; use a shorter one", maxURLBytes))
	}
	if len(secrets) > maxSecrets {
		problems = append(problems, fmt.Errorf("there are %d secrets; remove some, at most %d are allowed", len(secrets), maxSecrets))
	}
	if slices.ContainsFunc(secrets, func(s string) bool { return len(s) > maxSecretBytes }) {
		problems = append(problems, fmt.Errorf("a secret is longer than %d bytes; use a shorter one", maxSecretBytes))
	}
	if len(events) > maxPatterns {
		problems = append(problems, fmt.Errorf("there are %d event patterns; at most %d are allowed, so use stars, as in user.*", len(events), maxPatterns))
	}
	if slices.ContainsFunc(events, func(e string) bool { return len(e) > maxPatternBytes }) {
		problems = append(problems, fmt.Errorf("an event pattern is longer than %d bytes; use a shorter one", maxPatternBytes))
	}
	return errors.Join(problems...)
}

// LimitHeaders returns the headers that are within the limits, taken in the order of their names, and why the others are dropped.
func LimitHeaders(headers map[string]string) (kept map[string]string, dropped error) {
	kept = make(map[string]string, min(len(headers), maxHeaders))
	var problems []error
	total, excess := 0, 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		size := len(name) + len(headers[name])
		switch {
		case len(name) > maxHeaderName:
			problems = append(problems, fmt.Errorf("a header name is longer than %d bytes; use a shorter one", maxHeaderName))
		case len(headers[name]) > maxHeaderValue:
			problems = append(problems, fmt.Errorf("header %q: the value is longer than %d bytes; use a shorter one", name, maxHeaderValue))
		case len(kept) == maxHeaders || total+size > maxHeadersBytes:
			excess++
		default:
			kept[name] = headers[name]
			total += size
		}
		if len(problems) > maxHeaders { // enough to show the pattern
			break
		}
	}
	if excess > 0 {
		problems = append(problems, fmt.Errorf("%d headers exceed the limit of %d headers and %d bytes in total; remove them", excess, maxHeaders, maxHeadersBytes))
	}
	return kept, errors.Join(problems...)
}
