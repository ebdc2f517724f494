package command

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// buildJSON describes the program.
type buildJSON struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // empty in a build without version control
	Date    string `json:"date,omitempty"`   // of the commit
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Schema  int    `json:"schema"` // the version of the outbox's schema
}

func (env *environment) build() buildJSON {
	b := buildJSON{Version: env.version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Schema: outbox.SchemaVersion()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Date = s.Value
			}
		}
	}
	return b
}

func (env *environment) versionLine() string {
	b := env.build()
	return fmt.Sprintf("iam-relay %s (%s %s/%s)", b.Version, b.Go, b.OS, b.Arch)
}

func versionCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version, or as JSON the version, the commit, and the version of the outbox's schema.",
		Example: "  iam-relay version --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if env.json {
				return writeObject(env.out, env.build())
			}
			fmt.Fprintln(env.out, env.versionLine())
			return nil
		},
	}
	env.jsonFlag(cmd, "print JSON")
	return cmd
}
