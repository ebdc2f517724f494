package command

import (
	"flag"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// definition is what the options of add and update say of a webhook. Only what is given counts.
type definition struct {
	flags *flag.FlagSet
	files map[string][]string // by option, once read: it may be applied twice

	name, description, tenant, ordering, schedule string
	url, urlFile, headerFile, secretFile          string
	events                                        []string
	inFlight                                      int
	rate                                          float64
	cloudEvents, handshake, unsigned              bool
}

func defineFlags(flags *flag.FlagSet) *definition {
	d := &definition{flags: flags, files: map[string][]string{}}
	flags.StringVar(&d.name, "name", "", "a unique `name`")
	flags.StringVar(&d.description, "description", "", "what it is for, as `text`")
	flags.StringVar(&d.url, "url", "", "the `URL` to send to; others on this machine can see it while the command runs")
	flags.StringVar(&d.urlFile, "url-file", "", "the `file` with the URL")
	flags.Func("event", `a name or `+"`pattern`"+` of events that it wants, as "user.*"; as often as needed (default "*")`, func(p string) error {
		d.events = append(d.events, p)
		return nil
	})
	flags.StringVar(&d.tenant, "tenant", webhook.AllTenants, "the `tenant` whose events it gets, by key or name")
	flags.StringVar(&d.headerFile, "header-file", "", "the `file` with the headers of each request, in lines of the form Name: value")
	flags.StringVar(&d.ordering, "ordering", string(webhook.OrderingNone), `what is kept of the commit `+"`order`"+`: "none", "resource" or "strict"`)
	flags.StringVar(&d.schedule, "schedule", "default", "the `delays` after failed attempts, separated by commas, as 5s,1m,10m; \"default\" is delivery.schedule")
	flags.IntVar(&d.inFlight, "in-flight", 0, "how many `requests` may be on their way at once; 0 is delivery.in_flight")
	flags.Float64Var(&d.rate, "rate", 0, "how many `requests` a second it gets at most; 0 is no limit")
	flags.BoolVar(&d.cloudEvents, "cloudevents", false, "add the headers of CloudEvents")
	flags.BoolVar(&d.handshake, "handshake", false, "ask the endpoint whether it agrees before the first delivery")
	flags.BoolVar(&d.unsigned, "unsigned", false, "send without a signature")
	flags.StringVar(&d.secretFile, "secret-file", "", "the `file` with the secrets that sign, one a line, instead of a new one")
	return d
}

// given reports which options there are.
func (d *definition) given() map[string]bool {
	given := map[string]bool{}
	d.flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return given
}

// apply puts what is given into the webhook. Each mistake is a usageError that repeats no secret.
func (d *definition) apply(w *webhooks, one *outbox.Webhook) error {
	given := d.given()
	for _, check := range []func(map[string]bool, *webhooks, *outbox.Webhook) error{d.applyTexts, d.applyURL, d.applyHeaders, d.applyEvents, d.applyOptions, d.applySecrets} {
		if err := check(given, w, one); err != nil {
			return &usageError{strings.ReplaceAll(err.Error(), "\n", "; ")}
		}
	}
	return nil
}

func (d *definition) applyTexts(given map[string]bool, _ *webhooks, one *outbox.Webhook) error {
	if given["name"] {
		if err := checkWebhookName(d.name); err != nil {
			return err
		}
		one.Name = d.name
	}
	if given["description"] {
		one.Description = d.description
	}
	if given["tenant"] {
		if d.tenant == "" {
			return fmt.Errorf(`--tenant is empty; "*" stands for all tenants`)
		}
		one.Tenant = d.tenant
	}
	for _, text := range []string{one.Name, one.Description, one.Tenant} {
		if text != strings.ToValidUTF8(text, "") {
			return fmt.Errorf("name, description and tenant must be UTF-8")
		}
	}
	return nil
}

// checkWebhookName keeps a name from being taken for another webhook's id or origin:key.
func checkWebhookName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("--name is missing; a name tells webhooks apart")
	case len(name) > 200 || name != visible(name):
		return fmt.Errorf("--name must be up to 200 bytes of printable characters")
	case strings.Trim(name, "0123456789") == "":
		return fmt.Errorf("--name must not be a number: that is an id")
	}
	for _, origin := range []string{outbox.OriginIAM, outbox.OriginConfig, outbox.OriginRelay} {
		if strings.HasPrefix(name, origin+":") {
			return fmt.Errorf("--name must not begin with %s:, which is an origin", origin)
		}
	}
	return nil
}

func (d *definition) applyURL(given map[string]bool, w *webhooks, one *outbox.Webhook) error {
	if given["url"] && given["url-file"] {
		return fmt.Errorf("give --url or --url-file, not both")
	}
	if !given["url"] && !given["url-file"] {
		if one.URL == "" {
			return fmt.Errorf("--url or --url-file is missing")
		}
		return nil
	}
	one.URL = d.url
	if given["url-file"] {
		lines, err := d.lines("url-file", d.urlFile)
		if err != nil {
			return err
		}
		if len(lines) > 1 {
			return fmt.Errorf("--url-file: the file has more than one line")
		}
		one.URL = lines[0]
	}
	return webhook.CheckURL(one.URL, w.cfg.Delivery.Sender(w.env.version))
}

func (d *definition) applyHeaders(given map[string]bool, _ *webhooks, one *outbox.Webhook) error {
	if !given["header-file"] {
		return nil
	}
	one.Headers = nil
	if d.headerFile == "" {
		return nil
	}
	lines, err := d.lines("header-file", d.headerFile)
	if err != nil {
		return err
	}
	one.Headers = map[string]string{}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("--header-file: header %d is not of the form Name: value", i+1)
		}
		name = strings.TrimSpace(name)
		if _, twice := one.Headers[name]; twice {
			return fmt.Errorf("header %q is given twice", name)
		}
		one.Headers[name] = strings.TrimSpace(value)
	}
	return webhook.CheckHeaders(one.Headers)
}

func (d *definition) applyEvents(given map[string]bool, w *webhooks, one *outbox.Webhook) error {
	if !given["event"] {
		return nil
	}
	rules, err := relay.Rules(w.cfg)
	if err != nil {
		return err
	}
	one.Events = d.events
	return webhook.CheckPatterns(one.Events, append(rules.EventNames(), delivery.OperationalEvents()...))
}

func (d *definition) applyOptions(given map[string]bool, _ *webhooks, one *outbox.Webhook) error {
	options, err := webhook.ParseOptions(one.Options)
	if err != nil {
		return err
	}
	if given["ordering"] {
		if options.Ordering = webhook.Ordering(d.ordering); options.Ordering == webhook.OrderingNone {
			options.Ordering = "" // stored like that of a webhook that says nothing
		}
	}
	if given["schedule"] {
		if options.Schedule, err = parseSchedule(d.schedule); err != nil {
			return err
		}
	}
	set(given["in-flight"], &options.InFlight, d.inFlight)
	set(given["rate"], &options.Rate, d.rate)
	set(given["cloudevents"], &options.CloudEvents, d.cloudEvents)
	set(given["handshake"], &options.Handshake, d.handshake)
	if math.IsNaN(options.Rate) {
		options.Rate = -1 // which no rate may be either, and can be written
	}
	if err := options.Check(); err != nil {
		return err
	}
	one.Options, one.Exclusive = options.JSON(), options.Exclusive()
	return nil
}

func set[T any](given bool, option *T, value T) {
	if given {
		*option = value
	}
}

func parseSchedule(text string) (webhook.Delays, error) {
	if text == "default" {
		return nil, nil
	}
	var delays webhook.Delays
	for one := range strings.SplitSeq(text, ",") {
		delay, err := time.ParseDuration(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("--schedule: %q is not a duration; write them as 5s,1m,10m", one)
		}
		delays = append(delays, delay)
	}
	return delays, nil
}

func (d *definition) applySecrets(given map[string]bool, _ *webhooks, one *outbox.Webhook) error {
	if d.unsigned && given["secret-file"] {
		return fmt.Errorf("give --unsigned or --secret-file, not both")
	}
	if d.unsigned {
		one.SetSecrets(time.Now())
	}
	if !given["secret-file"] {
		return nil
	}
	secrets, err := d.lines("secret-file", d.secretFile)
	if err != nil {
		return err
	}
	if err := checkSecrets(secrets); err != nil {
		return err
	}
	one.SetSecrets(time.Now(), secrets...)
	return nil
}

func (d *definition) lines(option, path string) ([]string, error) {
	lines, read := d.files[option]
	if read {
		return lines, nil
	}
	lines, err := linesOf(option, path)
	d.files[option] = lines
	return lines, err
}
