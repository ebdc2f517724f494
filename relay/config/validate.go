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

// Validate reports every problem, as an *Error. Load has called it already. What only the database or the mapping can
// tell, as whether a table or an event exists, is not its business.
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
		ps.add("source.url", "is missing; write the IAM's database, as in postgres://iam_relay@localhost:5432/ferriskey, or name a file with url_file")
	}
	checkDSN(ps, "source.url", s.URL)
	if !slotName.MatchString(s.Slot) {
		ps.add("source.slot", "must be 1 to 63 lower-case letters, digits or underscores")
	}
	checkIdentifier(ps, "source.publication", s.Publication)
	checkOneOf(ps, "source.reconcile", s.Reconcile, ReconcileAuto, ReconcileStop)
	checkDuration(ps, "source.wal_sender_timeout", s.WALSenderTimeout, time.Second, time.Hour)
	if s.MemoryLimit.Bytes < 64<<10 || s.MemoryLimit.Bytes > 1<<30 {
		ps.add("source.memory_limit", "must be from 64KiB to 1GiB")
	}
	if s.RetainedWarning.Bytes < 1<<20 {
		ps.add("source.retained_warning", "must be at least 1MiB")
	}
	if s.SpillDir != "" {
		if info, err := os.Stat(s.SpillDir); err != nil {
			ps.add("source.spill_dir", "%s", readReason(err))
		} else if !info.IsDir() {
			ps.add("source.spill_dir", "is no directory")
		}
	}
}

func (m *Mapping) validate(ps *problems) {
	if m.Preset == "" && m.File == "" {
		ps.add("mapping.preset", "is empty, and mapping.file too; set one of them (iam-relay presets lists the presets)")
	}
	if m.Schema != "" {
		checkIdentifier(ps, "mapping.schema", m.Schema)
	}
	checkOneOf(ps, "mapping.resource_id", m.ResourceID, ResourceIDRow, ResourceIDTenant)
	for i, name := range m.Drop {
		if name == "" {
			ps.add(element("mapping.drop", i), "is empty; write the name of an event")
		}
	}
}

func (o *Outbox) validate(ps *problems) {
	checkDSN(ps, "outbox.url", o.URL)
	if !schemaName.MatchString(o.Schema) || strings.HasPrefix(o.Schema, "pg_") || o.Schema == "public" {
		ps.add("outbox.schema", "must be a schema of its own, neither public nor pg_…, of 1 to 63 lower-case letters, digits or underscores that do not begin with a digit")
	}
	if o.Retention.Duration != 0 {
		checkDuration(ps, "outbox.retention", o.Retention, time.Hour, 100*365*24*time.Hour)
	}
	checkCount(ps, "outbox.batch", o.Batch, 10_000)
	if o.MaxBody.Bytes < 1<<20 || o.MaxBody.Bytes > 64<<20 {
		ps.add("outbox.max_body", "must be from 1MiB to 64MiB")
	}
}

func (d *Delivery) validate(ps *problems) {
	checkDuration(ps, "delivery.timeout", d.Timeout, 100*time.Millisecond, 5*time.Minute)
	checkDuration(ps, "delivery.connect_timeout", d.ConnectTimeout, 10*time.Millisecond, 5*time.Minute)
	if d.ConnectTimeout.Duration > d.Timeout.Duration {
		ps.add("delivery.connect_timeout", "must not exceed delivery.timeout, which is %s", d.Timeout)
	}
	checkCount(ps, "delivery.in_flight", d.InFlight, 10_000)
	checkCount(ps, "delivery.queue", d.Queue, 1_000_000)
	for i, delay := range d.Schedule {
		checkDuration(ps, element("delivery.schedule", i), delay, 10*time.Millisecond, 30*24*time.Hour)
	}
	if !(d.Jitter >= 0 && d.Jitter <= 1) {
		ps.add("delivery.jitter", "must be from 0 to 1")
	}
	checkCount(ps, "delivery.senders", d.Senders, 100_000)
	checkCount(ps, "delivery.pause_after", d.RestAfter, 10_000)
	checkDuration(ps, "delivery.pause", d.Rest, 10*time.Millisecond, 24*time.Hour)
	checkDuration(ps, "delivery.pause_max", d.RestMax, d.Rest.Duration, 24*time.Hour)
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
		ps.add("admin.listen", `must be an address and a port, as in "127.0.0.1:9464" or ":9464", or "" for none`)
	}
}

func (l *Log) validate(ps *problems) {
	checkOneOf(ps, "log.level", l.Level, "debug", "info", "warn", "error")
	checkOneOf(ps, "log.format", l.Format, "text", "json")
}

func checkIdentifier(ps *problems, key, name string) {
	if name == "" || len(name) > 63 || strings.ContainsRune(name, 0) {
		ps.add(key, "must be a name of 1 to 63 bytes")
	}
}

func checkDuration(ps *problems, key string, d Duration, low, high time.Duration) {
	if d.Duration < low || d.Duration > high {
		ps.add(key, "must be from %s to %s", Duration{low}, Duration{high})
	}
}

func checkCount(ps *problems, key string, n, high int) {
	if n < 1 || n > high {
		ps.add(key, "must be from 1 to %d", high)
	}
}

func checkOneOf(ps *problems, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		ps.add(key, `must be one of "%s"`, strings.Join(allowed, `", "`))
	}
}
