package mappingcase_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/mappingcase"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Run(m)) }

const presetCases = "../../mapping/presets/cases"

// Each preset passes its cases. To write what came into them: IAM_RELAY_TEST_UPDATE=1 go test ./relay/mappingcase.
func TestPresets_PassTheirCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(presetCases + "/*/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !mappingcase.IsCase(file) {
			continue
		}
		t.Run(strings.TrimPrefix(file, presetCases+"/"), func(t *testing.T) {
			t.Parallel()
			c, err := mappingcase.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			rules, err := mapping.Load(mapping.Options{Preset: strings.TrimPrefix(c.Mapping, "preset:")})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Run(t.Context(), clustertest.Cluster(t).URL("postgres"), rules)
			if err != nil {
				t.Fatal(err)
			}
			if os.Getenv("IAM_RELAY_TEST_UPDATE") != "" {
				if err := c.Update(got); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, line := range c.Diff(got) {
				t.Error(line)
			}
		})
	}
}

var eventName = regexp.MustCompile(`(?m)^-- event.*?\{"event":"([^"]+)"`)

// The cases of a preset contain each of its events.
func TestPresets_HaveACaseForEachEvent(t *testing.T) {
	t.Parallel()
	for _, preset := range mapping.Presets() {
		files, err := filepath.Glob(filepath.Join(presetCases, preset.Name, "*.sql"))
		if err != nil {
			t.Fatal(err)
		}
		covered := map[string]bool{}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range eventName.FindAllSubmatch(text, -1) {
				covered[string(match[1])] = true
			}
			if strings.Contains(strings.ReplaceAll(string(text), "'never-sent", ""), "never-sent") {
				t.Errorf("%s: an event contains a secret", file)
			}
		}
		rules, err := mapping.Load(mapping.Options{Preset: preset.Name})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range rules.EventNames() {
			if !covered[name] {
				t.Errorf("%s: no case has %s; the cases have %s", preset.Name, name, strings.Join(slices.Sorted(maps.Keys(covered)), ", "))
			}
		}
	}
}
