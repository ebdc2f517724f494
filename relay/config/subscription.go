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
		MaxPayload:     d.MaxPayload.Bytes,
		AllowNetworks:  slices.Clone(d.AllowNetworks),
		AllowHTTP:      d.AllowHTTP,
		Proxy:          string(d.Proxy),
		Origin:         d.Origin,
		Version:        version,

		CloudEventsSource: d.CloudEventsSource,
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
		Options:     webhook.Options{InFlight: w.InFlight, Rate: w.Rate, CloudEvents: w.CloudEvents, Handshake: w.Handshake},
		Credentials: w.credentials(),
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

func (w *Webhook) credentials() webhook.Credentials {
	c := webhook.Credentials{
		CA: string(w.CA), ClientCert: string(w.ClientCert), ClientKey: string(w.ClientKey), Bearer: string(w.Token),
	}
	if o := w.OAuth2; o.TokenURL != "" || o.ClientID != "" || o.ClientSecretFile != "" || len(o.Scopes) > 0 {
		c.OAuth2 = &webhook.OAuth2{
			TokenURL: string(o.TokenURL), ClientID: o.ClientID, ClientSecret: string(o.ClientSecret), Scopes: o.Scopes,
		}
	}
	return c
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

// credentialOptions are the options that hold the fields of credentials.
var credentialOptions = map[string]string{
	"ca": "ca_file", "client_cert": "client_cert_file", "client_key": "client_key_file", "bearer": "token_file", "oauth2": "oauth2",
	"oauth2.token_url": "oauth2.token_url", "oauth2.client_id": "oauth2.client_id", "oauth2.client_secret": "oauth2.client_secret_file",
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
	endpoint := w.endpoint()
	options := endpoint.Options
	if err := options.Check(); err != nil {
		ps.add(key, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch {
	case w.Unsigned && w.Secret != "":
		ps.add(key+".unsigned", "is true, but there is a secret; remove one of them")
	case !w.Unsigned && w.Secret == "":
		ps.add(key+".secret", "is missing; make one with: echo whsec_$(openssl rand -base64 32), or set unsigned = true")
	}
	for _, problem := range endpoint.CheckCredentials(cfg) {
		ps.add(join(key, credentialOptions[problem.Field]), "%s", problem.Text)
	}
	for _, secret := range endpoint.Secrets {
		if err := secret.Check(); err != nil {
			ps.add(key+".secret", "%s", err)
		}
	}
}
