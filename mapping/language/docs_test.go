package language

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")

// Every TOML block in docs/mapping.md must be a valid mapping.
func TestLoad_Documentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := tomlBlock.FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatal("docs/mapping.md contains no TOML block")
	}
	for i, block := range blocks {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "mapping.toml")
			if err := os.WriteFile(file, block[1], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(Options{File: file}); err != nil {
				t.Error(err)
			}
		})
	}
}
