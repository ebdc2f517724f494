package webhook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// What a webhook may be made of, wherever it is defined. Headers are sent with every request, and held in memory as all of it is.
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

// CheckBounds reports what of a webhook is too long or too much, but for its headers. It repeats no value.
func CheckBounds(url string, secrets, events []string) error {
	var problems []error
	if len(url) > maxURLBytes {
		problems = append(problems, fmt.Errorf("the URL is longer than %d bytes", maxURLBytes))
	}
	if len(secrets) > maxSecrets {
		problems = append(problems, fmt.Errorf("there are %d secrets; at most %d may sign", len(secrets), maxSecrets))
	}
	if slices.ContainsFunc(secrets, func(s string) bool { return len(s) > maxSecretBytes }) {
		problems = append(problems, fmt.Errorf("a secret is longer than %d bytes", maxSecretBytes))
	}
	if len(events) > maxPatterns {
		problems = append(problems, fmt.Errorf("there are %d events; at most %d may be listed", len(events), maxPatterns))
	}
	if slices.ContainsFunc(events, func(e string) bool { return len(e) > maxPatternBytes }) {
		problems = append(problems, fmt.Errorf("the name of an event is longer than %d bytes", maxPatternBytes))
	}
	return errors.Join(problems...)
}

// BoundHeaders returns the headers that a request may carry, in the order of their names, and why the others are left out.
func BoundHeaders(headers map[string]string) (kept map[string]string, dropped error) {
	kept = make(map[string]string, min(len(headers), maxHeaders))
	var problems []error
	total, beyond := 0, 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		size := len(name) + len(headers[name])
		switch {
		case len(name) > maxHeaderName:
			problems = append(problems, fmt.Errorf("the name of a header is longer than %d bytes", maxHeaderName))
		case len(headers[name]) > maxHeaderValue:
			problems = append(problems, fmt.Errorf("header %q: its value is longer than %d bytes", name, maxHeaderValue))
		case len(kept) == maxHeaders || total+size > maxHeadersBytes:
			beyond++
		default:
			kept[name] = headers[name]
			total += size
		}
		if len(problems) > maxHeaders { // enough to see what is wrong
			break
		}
	}
	if beyond > 0 {
		problems = append(problems, fmt.Errorf("%d headers are more than the %d, of %d bytes together, that a request may carry", beyond, maxHeaders, maxHeadersBytes))
	}
	return kept, errors.Join(problems...)
}
