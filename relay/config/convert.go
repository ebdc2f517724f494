package config

import (
	"slices"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// OutboxURL returns outbox.url, or source.url if that is empty.
func (c *Config) OutboxURL() DSN {
	if c.Outbox.URL != "" {
		return c.Outbox.URL
	}
	return c.Source.URL
}

// EncryptionKeys returns the outbox's keys as bytes. The first one encrypts; all of them decrypt.
func (o *Outbox) EncryptionKeys() [][]byte {
	var keys [][]byte
	for i := range o.Keys {
		keys = append(keys, o.Keys[i][:])
	}
	return keys
}

// RetrySchedule returns the schedule on which failed deliveries are retried.
func (d *Delivery) RetrySchedule() webhook.Schedule {
	s := webhook.Schedule{Jitter: d.Jitter}
	for _, delay := range d.Schedule {
		s.Delays = append(s.Delays, delay.Duration)
	}
	return s
}

// Sender returns the configuration of the webhook sender. Version goes into its User-Agent.
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
	if w.Ordering != string(webhook.OrderingNone) { // none is stored as the zero value
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
