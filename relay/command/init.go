package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/config"
)

// initJSON is the result of init.
type initJSON struct {
	File string `json:"file"`
	Next string `json:"next"` // the command to run next
}

func initCommand(env *environment) *cobra.Command {
	var url string
	var force bool
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration file",
		Long: `Write a configuration file with every option, its default and an explanation. Without FILE it is
the one that --config names, else config.toml in the working directory. Only you can read it.`,
		Example: `  iam-relay init
  iam-relay init --url postgres://iam_relay@db/iam /etc/iam-relay/config.toml`,
		Args: optionalArgument,
		RunE: func(_ *cobra.Command, args []string) error {
			name := localConfig
			switch {
			case len(args) > 0:
				name = args[0]
			case env.hasConfigFile:
				name = env.configFile
			}
			text := config.Example
			before := "set source.url in it, then run"
			if url != "" {
				var err error
				if text, err = exampleFor(url); err != nil {
					return err
				}
				before = "next, run"
			}
			if err := writeExample(name, text, force); err != nil {
				return err
			}
			next := "iam-relay setup --config " + name + " --url URL-OF-THE-OWNER-OF-THE-TABLES"
			if env.json {
				return writeObject(env.out, initJSON{name, next})
			}
			fmt.Fprintf(env.out, "wrote %s; %s: %s\n", name, before, next)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	cmd.Flags().StringVar(&url, "url", "", "set source.url to `URL`; keep the password in url_file or a password file: other users of this machine can see it while the command runs")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

// exampleFor is the example configuration with that source.url.
func exampleFor(url string) (string, error) {
	const line = "\nurl = " + `"postgres://iam_relay@localhost:5432/ferriskey"` + "\n"
	var quoted strings.Builder
	if err := toml.NewEncoder(&quoted).Encode(map[string]string{"url": url}); err != nil {
		return "", &usageError{fmt.Sprintf("--url: %v", err)}
	}
	before, after, found := strings.Cut(config.Example, line)
	if !found {
		return "", errors.New("the example configuration has no source.url to set; write it without --url and edit the file")
	}
	return before + "\n" + quoted.String() + after, nil
}

// writeExample writes the text so that only the user can read it, since secrets will be put into it, and so that a
// failure leaves an existing file as it is.
func writeExample(name, text string, force bool) error {
	if _, err := os.Lstat(name); err == nil && !force {
		return fmt.Errorf("%s exists; give another name, or overwrite it with --force", name)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the configuration: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".iam-relay-*.toml") // of mode 0600
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // It fails after the rename.
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if force {
		err = os.Rename(f.Name(), name)
	} else {
		err = os.Link(f.Name(), name) // unlike a rename, it never replaces a file written meanwhile
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
