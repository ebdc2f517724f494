package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/iam-relay/iam-relay/relay/config"
)

func initCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	force := flags.Bool("force", false, "overwrite the file if it exists")
	url := flags.String("url", "", "set source.url to this `URL`; leave the password to url_file or a password file: others on this machine can see it while the command runs")
	return func(_ context.Context, env *environment, args []string) error {
		name := "config.toml"
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
		if err := noArguments(args); err != nil {
			return err
		}
		text := config.Example
		next := "set source.url in it, then run"
		if *url != "" {
			var err error
			if text, err = exampleFor(*url); err != nil {
				return err
			}
			next = "next, run"
		}
		if err := writeExample(name, text, *force); err != nil {
			return err
		}
		fmt.Fprintf(env.out, "wrote %s; %s: iam-relay setup --config %s --url URL-OF-THE-OWNER-OF-THE-TABLES\n", name, next, name)
		return nil
	}
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
// failure leaves what was there.
func writeExample(name, text string, force bool) error {
	if _, err := os.Lstat(name); err == nil && !force {
		return fmt.Errorf("%s exists; give another name, or overwrite it with --force", name)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the configuration: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".iam-relay-*.toml") // CreateTemp makes files of mode 0600
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // A renamed one is not there any more.
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if force {
		err = os.Rename(f.Name(), name)
	} else {
		err = os.Link(f.Name(), name) // unlike a rename, it never replaces what somebody wrote meanwhile
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
