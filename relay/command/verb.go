package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/relay/config"
)

// verb is one of the things that a command does.
type verb struct {
	name, arguments, summary string
	// least and most say how many arguments it takes.
	least, most int
	// options are those that it takes, besides --config and --json.
	options []string
	// check refuses a wrong command line before anything is opened; it may be nil.
	check func(args []string) error
	run   func(ctx context.Context, o *opened, args []string) error
}

// verbs makes a command of several verbs, of which the first is meant where none is named. Options may stand before, between and
// behind the arguments.
func verbs(flags *flag.FlagSet, path *string, list []verb) func(context.Context, *environment, []string) error {
	flags.Usage = func() {
		w := flags.Output()
		fmt.Fprintln(w, "Usage:")
		for _, v := range list {
			fmt.Fprintf(w, "  %s\n    \t%s\n", strings.TrimRight(flags.Name()+" "+v.name+" "+v.arguments, " "), v.summary)
		}
		fmt.Fprintf(w, "Without one of these words, %s is meant. TIME is as 2026-08-20T13:54:00Z (RFC 3339), or how long ago, as 24h or 90m.\nOptions:\n", list[0].name)
		flags.PrintDefaults()
	}
	return func(ctx context.Context, env *environment, rest []string) error {
		var args []string
		for len(rest) > 0 {
			args = append(args, rest[0])
			if err := flags.Parse(rest[1:]); err != nil {
				if errors.Is(err, flag.ErrHelp) {
					return err
				}
				return &usageError{err.Error()}
			}
			rest = flags.Args()
		}
		v := &list[0]
		if len(args) > 0 {
			if i := slices.IndexFunc(list, func(v verb) bool { return v.name == args[0] }); i >= 0 {
				v, args = &list[i], args[1:]
			}
		}
		if err := v.fits(flags, args); err != nil {
			return err
		}
		if v.check != nil {
			if err := v.check(args); err != nil {
				return err
			}
		}
		cfg, err := config.Load(*path, env.environ)
		if err != nil {
			return err
		}
		store, err := openOutbox(ctx, cfg)
		if err != nil {
			return err
		}
		defer store.Close()
		return v.run(ctx, &opened{env, cfg, store}, args)
	}
}

// fits checks the arguments' number, and that all options given are the verb's.
func (v *verb) fits(flags *flag.FlagSet, args []string) error {
	switch {
	case len(args) > v.most && v.most == 0:
		return &usageError{fmt.Sprintf("unexpected argument %q; %s --help lists what there is", args[0], flags.Name())}
	case len(args) > v.most:
		return &usageError{fmt.Sprintf("unexpected argument %q", args[v.most])}
	case len(args) < v.least:
		return &usageError{fmt.Sprintf("%s %s needs %s", flags.Name(), v.name, v.arguments)}
	}
	var foreign error
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "config" && f.Name != "json" && !slices.Contains(v.options, f.Name) {
			foreign = &usageError{fmt.Sprintf("--%s is not an option of %s %s", f.Name, flags.Name(), v.name)}
		}
	})
	return foreign
}
