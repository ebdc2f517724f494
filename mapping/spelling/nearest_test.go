package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"user.created", "user.updated", "user.deleted", "in_flight", "timeout"}
	for word, want := range map[string]string{
		"user.create":  "user.created",
		"users.delted": "user.deleted",
		"in-flight":    "in_flight",
		"timeot":       "timeout",
		"timeout":      "timeout",
		"zebra":        "",
		"":             "",
		// Words that are too long to compare have no suggestion.
		strings.Repeat("user.created", 100): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
