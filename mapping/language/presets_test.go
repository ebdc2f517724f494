package language

import (
	"testing"

	"github.com/iam-relay/iam-relay/mapping/presets"
)

func TestPresets_Load(t *testing.T) {
	t.Parallel()
	for _, p := range presets.All() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			rules, err := Load(Options{Preset: p.Name})
			if err != nil {
				t.Fatal(err)
			}
			if p.Title == "" || len(rules.EventNames()) == 0 {
				t.Errorf("preset %+v needs a title and events", p)
			}
		})
	}
}
