package value

import "testing"

// A set bit without a name must be written, or a receiver would take it as not set.
func TestAppendBits(t *testing.T) {
	t.Parallel()
	names := []string{`"read"`, `"write"`}
	for text, want := range map[string]string{
		"0": `[]`, "": `[]`, "1": `["read"]`, "3": `["read","write"]`, "4": `["unknown_2"]`, "9": `["read","unknown_3"]`,
		"-9223372036854775808": `["unknown_63"]`, "4611686018427387904": `["unknown_62"]`,
	} {
		if got := string(appendBits(nil, text, names)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
