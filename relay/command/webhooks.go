package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// webhooksSubcommand is one of the things that can be done with webhooks.
type webhooksSubcommand struct {
	name      string
	arguments string // besides options
	summary   string
	// flags declares the options and returns what runs it.
	flags func(*flag.FlagSet) func(context.Context, *webhooks, []string) error
}

// webhooksSubcommands in the order of the usage text.
var webhooksSubcommands = []webhooksSubcommand{
	{"list", "", "show each webhook, whatever its origin, and how it stands", webhooksList},
	{"show", "W", "show all about one", webhooksShow},
	{"add", "", "make a webhook, with a new secret that is shown once", webhooksAdd},
	{"update", "W", "change what is given, of a webhook that was made here", webhooksUpdate},
	{"remove", "W", "end a webhook that was made here; what it is owed is still delivered", webhooksRemove},
	{"disable", "W", "stop delivering to any webhook; its events wait", webhooksDisable},
	{"enable", "W", "go on from where a webhook was disabled", webhooksEnable},
	{"test", "W", "send a test event now, and show what came of it", webhooksTest},
	{"rotate", "W", "make a new secret for a webhook that was made here; the old ones end after a grace", webhooksRotate},
	{"secrets", "W", "list the secrets of a webhook that was made here, without their text", webhooksSecrets},
}

// webhooks is what a subcommand works with.
type webhooks struct {
	env    *environment
	config string // the file's path
	cfg    *config.Config
	store  *outbox.Store
	json   bool
}

func webhooksCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	flags.Usage = func() { webhooksUsage(flags.Output()) }
	return func(ctx context.Context, env *environment, args []string) error {
		if len(args) == 0 {
			webhooksUsage(env.err)
			return &usageError{"do what with the webhooks?"}
		}
		i := slices.IndexFunc(webhooksSubcommands, func(s webhooksSubcommand) bool { return s.name == args[0] })
		if i < 0 {
			return &usageError{fmt.Sprintf("there is no command %q for webhooks; iam-relay webhooks --help lists them", args[0])}
		}
		sub := webhooksSubcommands[i]
		w := &webhooks{env: env}
		options := flag.NewFlagSet("iam-relay webhooks "+sub.name, flag.ContinueOnError)
		options.SetOutput(env.err)
		options.StringVar(&w.config, "config", *path, "the configuration `file`")
		options.BoolVar(&w.json, "json", false, "write JSON")
		run := sub.flags(options)
		rest, err := parseAnywhere(options, args[1:])
		if err != nil {
			return err
		}
		if want := len(sub.arguments); len(rest) > want {
			return &usageError{fmt.Sprintf("unexpected argument %q", rest[want])}
		} else if len(rest) < want {
			return &usageError{"which webhook? Give its name, its origin:key or its id, as iam-relay webhooks list shows them"}
		}
		return w.run(ctx, rest, run)
	}
}

// parseAnywhere reads options also from behind the arguments, which it returns.
func parseAnywhere(options *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := options.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, &usageError{err.Error()}
		}
		if options.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, options.Arg(0)), options.Args()[1:]
	}
}

func (w *webhooks) run(ctx context.Context, args []string, run func(context.Context, *webhooks, []string) error) (err error) {
	if w.cfg, err = config.Load(w.config, w.env.environ); err != nil {
		return err
	}
	if w.store, err = openOutbox(ctx, w.cfg); err != nil {
		return err
	}
	defer w.store.Close()
	return run(ctx, w, args)
}

func webhooksUsage(out io.Writer) {
	fmt.Fprint(out, "iam-relay webhooks manages the webhooks of a relay, which may be running.\n\nUsage: iam-relay webhooks COMMAND [OPTIONS]\n\n")
	for _, s := range webhooksSubcommands {
		fmt.Fprintf(out, "  %-10s %s\n", s.name+" "+s.arguments, s.summary)
	}
	fmt.Fprint(out, `
W is a webhook's name, its origin:key or its id. A webhook of the IAM is defined in the IAM, one of the configuration in the
file, one of the relay here; list, show, disable, enable and test are for all of them.

iam-relay webhooks COMMAND --help lists a command's options.
`)
}
