package cdc

import "testing"

func TestCanonicalForm_Write(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		s          CanonicalForm
		text, want string
	}{
		{verbatim, "a ", "a "},
		{trimmedBlanks, "a  ", "a"},
		{trimmedBlanks, "   ", ""},
		{trimmedBlanks, " a", " a"},
		{plainNumeric, "1.00", "1"},
		{plainNumeric, "10", "10"},
		{plainNumeric, "0.50", "0.5"},
		{plainNumeric, "100.0", "100"},
		{plainNumeric, "NaN", "NaN"},
		{plainNumeric, "Infinity", "Infinity"},
		{plainFloat8, "1e+15", "1000000000000000"},
		{plainFloat8, "-0", "0"},
		{plainFloat8, "0.1", "0.1"},
		{plainFloat8, "NaN", "NaN"},
		{plainFloat8, "-Infinity", "-Infinity"},
		{plainFloat8, "0.10000000149011612", "0.10000000149011612"},
		{plainFloat4, "0.1", "0.10000000149011612"},
		{plainFloat4, "1", "1"},
		{plainFloat8, "1.00", "1"},
		{lowerUUID, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{lowerUUID, "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{lowerUUID, "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{lowerUUID, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A1", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A1"},
		{lowerUUID, "X", "X"},
		{lowerUUID, "", ""},
		{lowerUUID, "-", "-"},
		{lowerUUID, "a0e-ebc999c0b4ef8bb6d6bb9bd380a11", "a0e-ebc999c0b4ef8bb6d6bb9bd380a11"},
	} {
		if got := string(test.s.write([]byte(test.text))); got != test.want {
			t.Errorf("form %d of %q is %q, want %q", test.s, test.text, got, test.want)
		}
	}
}
