package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/iam-relay/iam-relay/relay/config"
)

func initCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	force := flags.Bool("force", false, "overwrite the file if it exists")
	return func(_ context.Context, env *environment, args []string) error {
		name := "config.toml"
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
		if err := noArguments(args); err != nil {
			return err
		}
		if err := writeExample(name, *force); err != nil {
			return err
		}
		fmt.Fprintf(env.out, "wrote %s; set source.url in it, then run: iam-relay check --config %s\n", name, name)
		return nil
	}
}

// writeExample writes the example so that only the user can read it, since secrets will be put into it, and so that a
// failure leaves what was there.
func writeExample(name string, force bool) error {
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
	_, err = f.WriteString(config.Example)
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
