package mapping

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed presets/*.toml
var presetFiles embed.FS

// PresetInfo describes a built-in mapping.
type PresetInfo struct {
	Name string
	// Title is the first comment line of the preset.
	Title string
}

// Presets returns the built-in mappings, ordered by name.
func Presets() []PresetInfo {
	var out []PresetInfo
	for _, name := range presetNames() {
		source, err := Preset(name)
		if err != nil {
			continue // Reading an embedded file cannot fail.
		}
		first, _, _ := strings.Cut(string(source), "\n")
		out = append(out, PresetInfo{Name: name, Title: strings.TrimSpace(strings.TrimPrefix(first, "#"))})
	}
	return out
}

// Preset returns the TOML source of a built-in mapping.
func Preset(name string) ([]byte, error) {
	source, err := presetFiles.ReadFile(path.Join("presets", name+".toml"))
	if err != nil || strings.ContainsAny(name, "/\\") {
		return nil, fmt.Errorf("unknown preset %q%s", name, suggest(name, presetNames()))
	}
	return source, nil
}

func presetNames() []string {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		return nil // Reading an embedded directory cannot fail.
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".toml")
	}
	return names
}
