package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
)

// presetPrefix marks an argument that names a built-in mapping instead of a file.
const presetPrefix = "preset:"

func mappingCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mapping",
		Short: "Check and try out mappings",
		Long: `Check a mapping against a database, run test cases, and explain events. A mapping is a file, or preset:NAME for a built-in one. No configuration, slot or outbox is needed;
where there is a configuration, its mapping and its source.url are the defaults.`,
		Example: `  iam-relay mapping check mapping.toml --url postgres://iam_relay@db/iam`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{"no command given; see " + cmd.CommandPath() + " --help"}
		},
		SuggestionsMinimumDistance: suggestionDistance,
	}
	cmd.AddCommand(mappingCheckCommand(env), mappingTestCommand(env), mappingExplainCommand(env))
	return cmd
}

// mappingInput is the mapping, and the database for it, that a command line names.
type mappingInput struct {
	name    string // for people
	options mapping.Options
	url     string // empty if none is known
}

// mappingFlags are the flags of commands that read a mapping.
type mappingFlags struct{ url, schema string }

func (f *mappingFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "url", "", "database with the IAM's tables, as a `URL`; default: source.url of the configuration; keep the password in PGPASSWORD or a password file")
	cmd.Flags().StringVar(&f.schema, "schema", "", "`SCHEMA` of the tables, instead of the mapping's")
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if !strings.HasPrefix(prefix, "p") || len(args) > 0 {
			return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
		}
		var names []string
		for _, p := range mapping.Presets() {
			names = append(names, cobra.CompletionWithDesc(presetPrefix+p.Name, p.Title))
		}
		return names, cobra.ShellCompDirectiveNoSpace
	}
}

// mappingInput reads the arguments, and fills what they lack from the configuration, if there is one.
func (env *environment) mappingInput(args []string, f mappingFlags) (mappingInput, error) {
	in := mappingInput{url: f.url}
	if len(args) > 0 {
		in.name = args[0]
		if preset, ok := strings.CutPrefix(args[0], presetPrefix); ok {
			in.options.Preset = preset
		} else {
			in.options.File = args[0]
		}
	}
	if in.name == "" || in.url == "" {
		cfg, err := env.optionalConfig()
		if err != nil {
			return in, err
		}
		if cfg == nil && in.name == "" {
			return in, &usageError{"no mapping given, and there is no configuration that names one; give a FILE, or preset:NAME as iam-relay presets lists them"}
		}
		if cfg != nil {
			in.fillFrom(cfg)
		}
	}
	if f.schema != "" {
		in.options.Schema = f.schema
	}
	return in, nil
}

// optionalConfig is loadConfig where a configuration may be missing, unless the command line names it.
func (env *environment) optionalConfig() (*config.Config, error) {
	path, err := env.configPath()
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // no file exists in the usual places
	}
	return config.Load(path, env.environ)
}

func (in *mappingInput) fillFrom(cfg *config.Config) {
	if in.url == "" {
		in.url = string(cfg.Source.URL)
	}
	if in.name != "" {
		return
	}
	m := cfg.Mapping
	in.options = mapping.Options{Preset: m.Preset, File: m.File, Schema: m.Schema, ResourceID: m.ResourceID, Drop: m.Drop}
	if in.name = m.File; in.name == "" {
		in.name = presetPrefix + m.Preset
	}
}
