package cdc

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Texts returns what MakeKey was given, whatever characters it has.
func TestKey_Texts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune{'a', '\\', 's', '\x1f', 'é'})), 1, 4).Draw(t, "texts")
		if got := MakeKey(texts...).Texts(len(texts)); !slices.Equal(got, texts) {
			t.Fatalf("%q became %q", texts, got)
		}
	})
}
