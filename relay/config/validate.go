package config

import (
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Validate returns all problems as an *Error. Load calls it. It does not check anything that depends on the database or the
// mapping, such as whether an event exists.
func (c *Config) Validate() error {
	ps := &problems{places: c.places}
	c.validate(ps)
	return ps.err()
}

func (c *Config) validate(ps *problems) {
	c.Source.validate(ps)
	c.Mapping.validate(ps)
	c.Outbox.validate(ps)
	c.Delivery.validate(ps)
	c.validateWebhooks(ps)
	c.Admin.validate(ps)
	c.Log.validate(ps)
}

var (
	slotName   = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
	schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
)

func (s *Source) validate(ps *problems) {
	if s.URL == "" {
		ps.add("source.url", "is missing; set it to the IAM's database, for example postgres://iam_relay@localhost:5432/ferriskey, or set url_file")
	}
	checkDSN(ps, "source.url", s.URL)
	if !slotName.MatchString(s.Slot) {
		ps.add("source.slot", "must be 1 to 63 lower-case letters, digits or underscores")
	}
	checkIdentifier(ps, "source.publication", s.Publication)
	checkOneOf(ps, "source.reconcile", s.Reconcile, ReconcileAuto, ReconcileStop)
	checkDuration(ps, "source.wal_sender_timeout", s.WALSenderTimeout, time.Second, time.Hour)
	if s.MemoryLimit.Bytes < 64<<10 || s.MemoryLimit.Bytes > 1<<30 {
		ps.add("source.memory_limit", "must be between 64KiB and 1GiB")
	}
	if s.RetainedWarning.Bytes < 1<<20 {
		ps.add("source.retained_warning", "must be at least 1MiB")
	}
	if s.SpillDir != "" {
		if info, err := os.Stat(s.SpillDir); err != nil {
			ps.add("source.spill_dir", `%s; create the directory, or set "" for the system's temporary directory`, readReason(err))
		} else if !info.IsDir() {
			ps.add("source.spill_dir", `is not a directory; set a directory, or "" for the system's temporary directory`)
		}
	}
}

func (m *Mapping) validate(ps *problems) {
	if m.Preset == "" && m.File == "" {
		ps.add("mapping.preset", "is empty, and so is mapping.file; set one of them (iam-relay presets lists the presets)")
	}
	if m.Schema != "" {
		checkIdentifier(ps, "mapping.schema", m.Schema)
	}
	checkOneOf(ps, "mapping.resource_id", m.ResourceID, ResourceIDRow, ResourceIDTenant)
	for i, name := range m.Drop {
		if name == "" {
			ps.add(element("mapping.drop", i), "is empty; write the name of an event, or remove the entry")
		}
	}
}

func (o *Outbox) validate(ps *problems) {
	checkDSN(ps, "outbox.url", o.URL)
	if !schemaName.MatchString(o.Schema) || strings.HasPrefix(o.Schema, "pg_") || o.Schema == "public" {
		ps.add("outbox.schema", "must be a schema for the relay alone: 1 to 63 lower-case letters, digits or underscores, not starting with a digit or pg_, and not public")
	}
	if o.Retention.Duration != 0 {
		checkDuration(ps, "outbox.retention", o.Retention, time.Hour, 100*365*24*time.Hour)
	}
	checkCount(ps, "outbox.batch", o.Batch, 10_000)
	if o.MaxBody.Bytes < 1<<20 || o.MaxBody.Bytes > 64<<20 {
		ps.add("outbox.max_body", "must be between 1MiB and 64MiB")
	}
}

func (d *Delivery) validate(ps *problems) {
	checkDuration(ps, "delivery.timeout", d.Timeout, 100*time.Millisecond, 5*time.Minute)
	checkDuration(ps, "delivery.connect_timeout", d.ConnectTimeout, 10*time.Millisecond, 5*time.Minute)
	if d.ConnectTimeout.Duration > d.Timeout.Duration {
		ps.add("delivery.connect_timeout", "must not be longer than delivery.timeout (%s); lower it or raise delivery.timeout", d.Timeout)
	}
	checkCount(ps, "delivery.in_flight", d.InFlight, 10_000)
	checkCount(ps, "delivery.queue", d.Queue, 1_000_000)
	for i, delay := range d.Schedule {
		checkDuration(ps, element("delivery.schedule", i), delay, 10*time.Millisecond, 30*24*time.Hour)
	}
	if !(d.Jitter >= 0 && d.Jitter <= 1) {
		ps.add("delivery.jitter", "must be between 0 and 1")
	}
	checkCount(ps, "delivery.senders", d.Senders, 100_000)
	checkCount(ps, "delivery.pause_after", d.PauseAfter, 10_000)
	checkDuration(ps, "delivery.pause", d.Pause, 10*time.Millisecond, 24*time.Hour)
	checkDuration(ps, "delivery.pause_max", d.PauseMax, d.Pause.Duration, 24*time.Hour)
	if d.DisableAfter.Duration != 0 {
		checkDuration(ps, "delivery.disable_after", d.DisableAfter, time.Second, 365*24*time.Hour)
		checkDuration(ps, "delivery.disable_spread", d.DisableSpread, 0, d.DisableAfter.Duration)
	}
	if err := webhook.CheckProxy(string(d.Proxy)); err != nil {
		ps.add("delivery.proxy", "%s", err)
	}
	if d.Origin != "" {
		if err := webhook.CheckOrigin(d.Origin); err != nil {
			ps.add("delivery.origin", "%s", err)
		}
	}
	if err := webhook.CheckCloudEventsSource(d.CloudEventsSource); err != nil {
		ps.add("delivery.cloudevents_source", "%s", err)
	}
	for i, network := range d.AllowNetworks {
		if err := webhook.CheckNetwork(network); err != nil {
			ps.add(element("delivery.allow_networks", i), "%s", err)
		}
	}
}

func (a *Admin) validate(ps *problems) {
	if a.Listen == "" {
		return
	}
	_, port, err := net.SplitHostPort(a.Listen)
	if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil || n == 0 && port != "0" {
		ps.add("admin.listen", `must be host:port, such as "127.0.0.1:9464" or ":9464"; "" disables the server`)
	}
}

func (l *Log) validate(ps *problems) {
	checkOneOf(ps, "log.level", l.Level, "debug", "info", "warn", "error")
	checkOneOf(ps, "log.format", l.Format, "text", "json")
}

func checkIdentifier(ps *problems, key, name string) {
	if name == "" || len(name) > 63 || strings.ContainsRune(name, 0) {
		ps.add(key, "must be a PostgreSQL identifier of 1 to 63 bytes")
	}
}

func checkDuration(ps *problems, key string, d Duration, low, high time.Duration) {
	if d.Duration < low || d.Duration > high {
		ps.add(key, "must be between %s and %s", Duration{low}, Duration{high})
	}
}

func checkCount(ps *problems, key string, n, high int) {
	if n < 1 || n > high {
		ps.add(key, "must be between 1 and %d", high)
	}
}

func checkOneOf(ps *problems, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		ps.add(key, `must be one of "%s"`, strings.Join(allowed, `", "`))
	}
}
