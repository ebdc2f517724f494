package keycloak

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	if len(distributions) < 2 {
		t.Fatalf("distributions.txt names %d versions", len(distributions))
	}
	for _, d := range distributions {
		if len(d.sha256) != 64 {
			t.Errorf("the checksum of version %s is %q", d.version, d.sha256)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	got := change{"kept": 1, "removed": 2, "attributes": change{"a": "1", "b": "2"}, "list": []any{1}}
	merge(got, change{"removed": nil, "added": true, "attributes": change{"a": nil, "c": "3"}, "list": []any{2, 3}})
	want := change{"kept": 1, "added": true, "attributes": change{"b": "2", "c": "3"}, "list": []any{2, 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStory_Wanted(t *testing.T) {
	t.Parallel()
	s := &Story{ids: map[string]string{"alice": "1"}}
	got, err := s.Wanted(Operation{Events: "user.updated alice, session.ended ×2"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Event{{"user.updated", "1"}, {"session.ended", ""}, {"session.ended", ""}}, got); diff != "" {
		t.Error(diff)
	}
	for _, malformed := range []string{"user.updated bob", "user.updated alice x2", "User"} {
		if _, err := s.Wanted(Operation{Events: malformed}); err == nil {
			t.Errorf("%q is accepted", malformed)
		}
	}
}

// The names of operations are unique: the table and the list of known differences use them.
func TestStory_Operations(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, o := range NewStory(&Server{}).Operations(false) {
		if seen[o.Name] {
			t.Errorf("two operations are called %q", o.Name)
		}
		seen[o.Name] = true
		if o.Do == nil {
			t.Errorf("%q does nothing", o.Name)
		}
	}
	if len(seen) < 140 {
		t.Errorf("there are only %d operations", len(seen))
	}
}
