package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/mapping"
)

// presetJSON is a built-in mapping; Source only where one was asked for.
type presetJSON struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Source string `json:"source,omitempty"` // TOML
}

func presetsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the built-in mappings, or print one",
		Long: `List the built-in mappings, or print one as TOML: as an example, or as the start of a mapping
of your own.`,
		Example: `  iam-relay presets
  iam-relay presets ferriskey > mapping.toml`,
		Args: optionalArgument,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return env.printPreset(args[0])
			}
			return env.listPresets()
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, p := range mapping.Presets() {
				names = append(names, cobra.CompletionWithDesc(p.Name, p.Title))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (env *environment) listPresets() error {
	presets := []presetJSON{}
	for _, p := range mapping.Presets() {
		presets = append(presets, presetJSON{Name: p.Name, Title: p.Title})
	}
	if env.json {
		return writeObject(env.out, presets)
	}
	for _, p := range presets {
		fmt.Fprintf(env.out, "%-12s %s\n", p.Name, p.Title)
	}
	return nil
}

func (env *environment) printPreset(name string) error {
	source, err := mapping.Preset(name)
	if err != nil {
		return &usageError{err.Error() + "; iam-relay presets lists them"}
	}
	if !env.json {
		_, err = env.out.Write(source)
		return err
	}
	for _, p := range mapping.Presets() {
		if p.Name == name {
			return writeObject(env.out, presetJSON{p.Name, p.Title, string(source)})
		}
	}
	return fmt.Errorf("preset %s is not in the list", name) // Preset has found it
}
