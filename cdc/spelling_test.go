package cdc

import "testing"

func TestSpelling_Write(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		s          Spelling
		text, want string
	}{
		{asIs, "a ", "a "},
		{unpadded, "a  ", "a"},
		{unpadded, "   ", ""},
		{unpadded, " a", " a"},
		{plainExact, "1.00", "1"},
		{plainExact, "10", "10"},
		{plainExact, "0.50", "0.5"},
		{plainExact, "100.0", "100"},
		{plainExact, "NaN", "NaN"},
		{plainExact, "Infinity", "Infinity"},
		{plainDouble, "1e+15", "1000000000000000"},
		{plainDouble, "-0", "0"},
		{plainDouble, "0.1", "0.1"},
		{plainDouble, "NaN", "NaN"},
		{plainDouble, "-Infinity", "-Infinity"},
		{plainDouble, "0.10000000149011612", "0.10000000149011612"},
		{plainSingle, "0.1", "0.10000000149011612"},
		{plainSingle, "1", "1"},
		{plainDouble, "1.00", "1"},
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
			t.Errorf("spelling %d of %q is %q, not %q", test.s, test.text, got, test.want)
		}
	}
}
