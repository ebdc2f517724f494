// Package presets holds the built-in mappings.
package presets

import (
	"embed"
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/spelling"
)

//go:embed *.toml
var files embed.FS

// Info describes a built-in mapping.
type Info struct {
	Name string
	// Title is the first comment line of the preset.
	Title string
}

// All returns the built-in mappings, ordered by name.
func All() []Info {
	var out []Info
	for _, name := range Names() {
		source, err := Source(name)
		if err != nil {
			continue // Reading an embedded file cannot fail.
		}
		first, _, _ := strings.Cut(string(source), "\n")
		out = append(out, Info{Name: name, Title: strings.TrimSpace(strings.TrimPrefix(first, "#"))})
	}
	return out
}

// Source returns the TOML source of a built-in mapping.
func Source(name string) ([]byte, error) {
	source, err := files.ReadFile(name + ".toml")
	if err != nil || strings.ContainsAny(name, "/\\") {
		return nil, fmt.Errorf("unknown preset %q%s", name, spelling.Suggest(name, Names()))
	}
	return source, nil
}

// Names returns the names of the built-in mappings, in order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil // Reading an embedded directory cannot fail.
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".toml")
	}
	return names
}
