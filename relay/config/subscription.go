package config

import (
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// OutboxURL returns the outbox's database: its own, or else the source's.
func (c *Config) OutboxURL() DSN {
	if c.Outbox.URL != "" {
		return c.Outbox.URL
	}
	return c.Source.URL
}

// SealingKeys are the outbox's keys as bytes, the one that seals first.
func (o *Outbox) SealingKeys() [][]byte {
	var keys [][]byte
	for i := range o.Keys {
		keys = append(keys, o.Keys[i][:])
	}
	return keys
}

// RetrySchedule returns when failed deliveries are tried again.
func (d *Delivery) RetrySchedule() webhook.Schedule {
	s := webhook.Schedule{Jitter: d.Jitter}
	for _, delay := range d.Schedule {
		s.Delays = append(s.Delays, delay.Duration)
	}
	return s
}

// Sender returns the configuration of the sender of that version.
func (d *Delivery) Sender(version string) webhook.SenderConfig {
	return webhook.SenderConfig{
		Timeout:        d.Timeout.Duration,
		ConnectTimeout: d.ConnectTimeout.Duration,
		MaxIdlePerHost: d.InFlight,
		AllowNetworks:  slices.Clone(d.AllowNetworks),
		AllowHTTP:      d.AllowHTTP,
		Version:        version,
	}
}

// Endpoints returns the webhooks of the configuration. Their keys are their names.
func (c *Config) Endpoints() []webhook.Endpoint {
	endpoints := make([]webhook.Endpoint, len(c.Webhooks))
	for i := range c.Webhooks {
		endpoints[i] = c.Webhooks[i].endpoint()
	}
	return endpoints
}

func (w *Webhook) endpoint() webhook.Endpoint {
	e := webhook.Endpoint{
		Origin:      webhook.OriginConfig,
		Key:         w.Name,
		Name:        w.Name,
		Description: w.Description,
		URL:         string(w.URL),
		Headers:     w.headers(),
		Events:      w.Events,
		Tenant:      w.Tenant,
		Disabled:    !w.Enabled,
		Options:     webhook.Options{InFlight: w.InFlight, Rate: w.Rate},
	}
	if w.Ordering != string(webhook.OrderingNone) { // the zero value, stored like that of a webhook that says nothing
		e.Options.Ordering = webhook.Ordering(w.Ordering)
	}
	if w.Schedule != nil {
		e.Options.Schedule = make(webhook.Delays, len(w.Schedule))
		for i, d := range w.Schedule {
			e.Options.Schedule[i] = d.Duration
		}
	}
	if w.Secret != "" {
		e.Secrets = append([]webhook.Secret{w.Secret}, w.Previous...)
	}
	return e
}

func (w *Webhook) headers() map[string]string {
	headers := make(map[string]string, len(w.Headers))
	for name, value := range w.Headers {
		headers[name] = string(value)
	}
	return headers
}

func (c *Config) validateWebhooks(ps *problems) {
	names := map[string]bool{}
	for i := range c.Webhooks {
		w, key := &c.Webhooks[i], element("webhook", i)
		switch {
		case w.Name == "":
			ps.add(key+".name", "is missing; a name tells webhooks apart, also after a change of the URL")
		case names[w.Name]:
			ps.add(key+".name", "%q is the name of another webhook", w.Name)
		}
		names[w.Name] = true
		w.validate(ps, key, c.Delivery.Sender(""))
	}
}

func (w *Webhook) validate(ps *problems, key string, cfg webhook.SenderConfig) {
	if w.URL == "" {
		ps.add(key+".url", "is missing; write it, or name a file with url_file")
	} else if err := webhook.CheckURL(string(w.URL), cfg); err != nil {
		ps.add(key+".url", "%s", err)
	}
	if err := webhook.CheckHeaders(w.headers()); err != nil {
		ps.add(key+".headers", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(w.Events) == 0 {
		ps.add(key+".events", `is empty; "*" stands for all events`)
	}
	for i, pattern := range w.Events {
		if err := webhook.CheckPattern(pattern); err != nil {
			ps.add(element(key+".events", i), "%s", err)
		}
	}
	if w.Tenant == "" {
		ps.add(key+".tenant", `is empty; "*" stands for all tenants`)
	}
	options := w.endpoint().Options
	if err := options.Check(); err != nil {
		ps.add(key, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch {
	case w.Unsigned && w.Secret != "":
		ps.add(key+".unsigned", "is true, but there is a secret; remove one of them")
	case !w.Unsigned && w.Secret == "":
		ps.add(key+".secret", "is missing; make one with: echo whsec_$(openssl rand -base64 32), or set unsigned = true")
	}
	for _, secret := range w.endpoint().Secrets {
		if err := secret.Check(); err != nil {
			ps.add(key+".secret", "%s", err)
		}
	}
}
