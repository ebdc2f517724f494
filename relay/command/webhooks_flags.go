package command

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// definition is what the flags of add and update set of a webhook. Only flags that were given count.
type definition struct {
	flags *pflag.FlagSet
	files map[string][]string // by flag, once read: a definition may be applied twice

	name, description, tenant, ordering, schedule string
	url, urlFile, headerFile, secretFile          string
	events                                        []string
	inFlight                                      int
	rate                                          float64
	cloudEvents, handshake, unsigned              bool
}

func definitionFlags(cmd *cobra.Command) *definition {
	d := &definition{flags: pflag.NewFlagSet("", pflag.ContinueOnError), files: map[string][]string{}}
	f := d.flags
	f.StringVar(&d.name, "name", "", "a unique `NAME`")
	f.StringVar(&d.description, "description", "", "a `TEXT` that says what the webhook is for")
	f.StringVar(&d.url, "url", "", "the `URL` to send to; other users of this machine can see it while the command runs")
	f.StringVar(&d.urlFile, "url-file", "", "the `FILE` with the URL")
	f.StringSliceVar(&d.events, "event", nil, "a `PATTERN` of event names to subscribe to, such as user.*; repeat it, or separate several with commas (default *)")
	f.StringVar(&d.tenant, "tenant", webhook.AllTenants, "the `TENANT` whose events it receives, by key or name; * is all")
	f.StringVar(&d.headerFile, "header-file", "", "the `FILE` with headers for each request, in lines of the form Name: value")
	f.StringVar(&d.ordering, "ordering", string(webhook.OrderingNone), "the `ORDER` in which events are delivered: none, resource or strict")
	f.StringVar(&d.schedule, "schedule", "default", "the `DELAYS` after failed attempts, such as 5s,1m,10m; default is delivery.schedule")
	f.IntVar(&d.inFlight, "in-flight", 0, "the maximum `NUMBER` of concurrent requests; 0 is delivery.in_flight")
	f.Float64Var(&d.rate, "rate", 0, "the maximum `NUMBER` of requests per second; 0 is no limit")
	f.BoolVar(&d.cloudEvents, "cloudevents", false, "add CloudEvents headers")
	f.BoolVar(&d.handshake, "handshake", false, "ask the endpoint for permission before the first delivery (CloudEvents)")
	f.BoolVar(&d.unsigned, "unsigned", false, "send requests without a signature")
	f.StringVar(&d.secretFile, "secret-file", "", "the `FILE` with the signing secrets, one per line, instead of a new one")
	cmd.Flags().AddFlagSet(f)
	completeWords(cmd, "ordering", []string{"none", "resource", "strict"})
	return d
}

// given reports whether a flag was given.
func (d *definition) given(name string) bool { return d.flags.Lookup(name).Changed }

// any reports whether any flag was given.
func (d *definition) any() bool {
	found := false
	d.flags.VisitAll(func(f *pflag.Flag) { found = found || f.Changed })
	return found
}

// apply sets what was given in the webhook. Each mistake is a usageError that repeats no secret.
func (d *definition) apply(s *session, w *outbox.Webhook) error {
	for _, check := range []func(*session, *outbox.Webhook) error{d.applyTexts, d.applyURL, d.applyHeaders, d.applyEvents, d.applyOptions, d.applySecrets} {
		if err := check(s, w); err != nil {
			return &usageError{strings.ReplaceAll(err.Error(), "\n", "; ")}
		}
	}
	return nil
}

func (d *definition) applyTexts(_ *session, w *outbox.Webhook) error {
	if d.given("name") {
		if err := checkWebhookName(d.name); err != nil {
			return err
		}
		w.Name = d.name
	}
	if d.given("description") {
		w.Description = d.description
	}
	if d.given("tenant") {
		if d.tenant == "" {
			return fmt.Errorf(`--tenant is empty; "*" is all tenants`)
		}
		w.Tenant = d.tenant
	}
	for _, text := range []string{w.Name, w.Description, w.Tenant} {
		if text != strings.ToValidUTF8(text, "") {
			return fmt.Errorf("name, description and tenant must be UTF-8")
		}
	}
	return nil
}

// checkWebhookName refuses names that look like an id or an origin:key.
func checkWebhookName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("no name given: --name is required")
	case len(name) > 200 || name != visible(name):
		return fmt.Errorf("--name must be up to 200 bytes of printable characters")
	case strings.Trim(name, "0123456789") == "":
		return fmt.Errorf("--name must not be a number: numbers are ids")
	}
	for _, origin := range []string{outbox.OriginIAM, outbox.OriginConfig, outbox.OriginRelay} {
		if strings.HasPrefix(name, origin+":") {
			return fmt.Errorf("--name must not begin with %s:, which is an origin", origin)
		}
	}
	return nil
}

func (d *definition) applyURL(s *session, w *outbox.Webhook) error {
	if d.given("url") && d.given("url-file") {
		return fmt.Errorf("give either --url or --url-file")
	}
	if !d.given("url") && !d.given("url-file") {
		if w.URL == "" {
			return fmt.Errorf("no URL given: use --url or --url-file")
		}
		return nil
	}
	w.URL = d.url
	if d.given("url-file") {
		lines, err := d.lines("url-file", d.urlFile)
		if err != nil {
			return err
		}
		if len(lines) > 1 {
			return fmt.Errorf("--url-file: the file has more than one line")
		}
		w.URL = lines[0]
	}
	return webhook.CheckURL(w.URL, s.cfg.Delivery.Sender(s.version))
}

func (d *definition) applyHeaders(_ *session, w *outbox.Webhook) error {
	if !d.given("header-file") {
		return nil
	}
	w.Headers = nil
	if d.headerFile == "" {
		return nil
	}
	lines, err := d.lines("header-file", d.headerFile)
	if err != nil {
		return err
	}
	w.Headers = map[string]string{}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("--header-file: header %d is not of the form Name: value", i+1)
		}
		name = strings.TrimSpace(name)
		if _, twice := w.Headers[name]; twice {
			return fmt.Errorf("header %q is given twice", name)
		}
		w.Headers[name] = strings.TrimSpace(value)
	}
	return webhook.CheckHeaders(w.Headers)
}

func (d *definition) applyEvents(s *session, w *outbox.Webhook) error {
	if !d.given("event") {
		return nil
	}
	rules, err := relay.Rules(s.cfg)
	if err != nil {
		return err
	}
	w.Events = d.events
	return webhook.CheckPatterns(w.Events, append(rules.EventNames(), delivery.OperationalEvents()...))
}

func (d *definition) applyOptions(_ *session, w *outbox.Webhook) error {
	options, err := webhook.ParseOptions(w.Options)
	if err != nil {
		return err
	}
	if d.given("ordering") {
		if options.Ordering = webhook.Ordering(d.ordering); options.Ordering == webhook.OrderingNone {
			options.Ordering = "" // as stored for a webhook without the option
		}
	}
	if d.given("schedule") {
		if options.Schedule, err = parseSchedule(d.schedule); err != nil {
			return err
		}
	}
	set(d.given("in-flight"), &options.InFlight, d.inFlight)
	set(d.given("rate"), &options.Rate, d.rate)
	set(d.given("cloudevents"), &options.CloudEvents, d.cloudEvents)
	set(d.given("handshake"), &options.Handshake, d.handshake)
	if math.IsNaN(options.Rate) {
		options.Rate = -1 // invalid too, and unlike NaN valid JSON
	}
	if err := options.Check(); err != nil {
		return err
	}
	w.Options, w.Exclusive = options.JSON(), options.Exclusive()
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
	for text := range strings.SplitSeq(text, ",") {
		delay, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--schedule: %q is not a duration; write durations like 5s,1m,10m", text)
		}
		delays = append(delays, delay)
	}
	return delays, nil
}

func (d *definition) applySecrets(_ *session, w *outbox.Webhook) error {
	if d.unsigned && d.given("secret-file") {
		return fmt.Errorf("give either --unsigned or --secret-file")
	}
	if d.unsigned {
		w.SetSecrets(time.Now())
	}
	if !d.given("secret-file") {
		return nil
	}
	secrets, err := d.lines("secret-file", d.secretFile)
	if err != nil {
		return err
	}
	if err := checkSecrets(secrets); err != nil {
		return err
	}
	w.SetSecrets(time.Now(), secrets...)
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
