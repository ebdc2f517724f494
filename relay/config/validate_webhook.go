package config

import (
	"strings"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

func (c *Config) validateWebhooks(ps *problems) {
	names := map[string]bool{}
	for i := range c.Webhooks {
		w, key := &c.Webhooks[i], element("webhook", i)
		switch {
		case w.Name == "":
			ps.add(key+".name", "is missing; set a unique name, which identifies the webhook even when its URL changes")
		case names[w.Name]:
			ps.add(key+".name", "%q is already the name of another webhook; choose a unique name", w.Name)
		}
		names[w.Name] = true
		w.validate(ps, key, c.Delivery.Sender(""))
	}
}

// credentialOptions maps the fields of webhook.CredentialsProblem to options.
var credentialOptions = map[string]string{
	"ca": "ca_file", "client_cert": "client_cert_file", "client_key": "client_key_file", "bearer": "token_file", "oauth2": "oauth2",
	"oauth2.token_url": "oauth2.token_url", "oauth2.client_id": "oauth2.client_id", "oauth2.client_secret": "oauth2.client_secret_file",
}

func (w *Webhook) validate(ps *problems, key string, cfg webhook.SenderConfig) {
	if w.URL == "" {
		ps.add(key+".url", "is missing; set it or url_file")
	} else if err := webhook.CheckURL(string(w.URL), cfg); err != nil {
		ps.add(key+".url", "%s", err)
	}
	if err := webhook.CheckHeaders(w.headers()); err != nil {
		ps.add(key+".headers", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(w.Events) == 0 {
		ps.add(key+".events", `is empty; set ["*"] for all events`)
	}
	for i, pattern := range w.Events {
		if err := webhook.CheckPattern(pattern); err != nil {
			ps.add(element(key+".events", i), "%s", err)
		}
	}
	if w.Tenant == "" {
		ps.add(key+".tenant", `is empty; set "*" for all tenants`)
	}
	endpoint := w.endpoint()
	options := endpoint.Options
	if err := options.Check(); err != nil {
		ps.add(key, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch {
	case w.Unsigned && w.Secret != "":
		ps.add(key+".unsigned", "conflicts with the secret; remove one of them")
	case !w.Unsigned && w.Secret == "":
		ps.add(key+".secret", "is missing; generate one with: echo whsec_$(openssl rand -base64 32), or set unsigned = true")
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
