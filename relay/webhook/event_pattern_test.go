package webhook

import (
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, event string
		want           bool
	}{
		{"user.created", "user.created", true},
		{"user.created", "user.created.twice", false},
		{"user.created", "user.create", false},
		{"*", "user.created", true},
		{"user.*", "user.created", true},
		{"user.*", "user.role.assigned", true},
		{"user.*", "user.", false},
		{"user.*", "users.created", false},
		{"user.*", "user", false},
		{"user.role.*", "user.role.assigned", true},
		{"user.role.*", "user.created", false},
		{"*.deleted", "user.deleted", true},
		{"*.deleted", "user.credentials.deleted", true},
		{"*.deleted", "deleted", false},
		{"*.deleted", "user.bulk_deleted", false},
		{"client.*.created", "client.role.created", true},
		{"client.*.created", "client.created", false},
		{"", "user.created", false},
	} {
		if got := Matches([]string{tt.pattern}, tt.event); got != tt.want {
			t.Errorf("Matches(%q, %q) = %t, want %t", tt.pattern, tt.event, got, tt.want)
		}
	}
	if Matches(nil, "user.created") {
		t.Error("an empty list matches an event")
	}
	if !Matches([]string{"role.*", "user.*"}, "user.created") {
		t.Error("the second pattern is ignored")
	}
}

func TestCheckPatterns(t *testing.T) {
	t.Parallel()
	known := []string{"user.created", "user.role.assigned", "role.deleted"}
	if err := CheckPatterns([]string{"*", "user.*", "user.role.*", "*.deleted", "user.created"}, known); err != nil {
		t.Errorf("good patterns: %v", err)
	}
	for pattern, want := range map[string]string{
		"":              "is empty",
		"user..created": "empty word",
		"user*":         "whole words",
		"user.cre*":     "whole words",
		"*.role.*":      "more than one star",
		"user created":  "event names do not have",
		"user.create":   `did you mean "user.created"?`,
		"group.*":       "matches no event",
	} {
		err := CheckPatterns([]string{"user.*", pattern}, known)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckPatterns(%q) = %v, want an error with %q", pattern, err, want)
		}
	}
	err := CheckPatterns([]string{"user*", "group.*"}, known)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error = %v, want both problems", err)
	}
}
