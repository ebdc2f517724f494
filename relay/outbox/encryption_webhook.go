package outbox

import "fmt"

// The encrypted fields of a webhook. Of headers only the values are encrypted.
const (
	fieldURL         = "url"
	fieldHeader      = "header "
	fieldSecret      = "secret"
	fieldCredentials = "credentials"
)

// encryptedWebhook returns a copy of the webhook as it is stored.
func (k *keys) encryptedWebhook(w *Webhook) Webhook {
	e, err := w.mapTexts(func(text string, at location) (string, error) { return k.encrypt(text, at), nil })
	if err != nil { // encrypt does not fail
		panic(err)
	}
	return e
}

// decryptedWebhook returns a copy of a stored webhook in plain text.
func (k *keys) decryptedWebhook(w *Webhook) (Webhook, error) {
	d, err := w.mapTexts(k.decrypt)
	if err != nil {
		return d, fmt.Errorf("webhook %s:%s %w", w.Origin, w.Key, err)
	}
	return d, nil
}

// webhookCurrent reports whether all encrypted fields of a stored webhook use the first key.
func (k *keys) webhookCurrent(w *Webhook) bool {
	all := true
	_, err := w.mapTexts(func(text string, _ location) (string, error) { all = all && k.current(text); return text, nil })
	return all && err == nil
}

// mapTexts returns a copy of the webhook with f applied to every encrypted field.
func (w *Webhook) mapTexts(f func(string, location) (string, error)) (Webhook, error) {
	m := *w
	at := func(field string) location { return location{w.Origin, w.Key, field} }
	var err error
	if m.URL, err = f(w.URL, at(fieldURL)); err != nil {
		return m, err
	}
	if m.Credentials, err = f(w.Credentials, at(fieldCredentials)); err != nil {
		return m, err
	}
	if w.Headers != nil {
		m.Headers = make(map[string]string, len(w.Headers))
	}
	for name, value := range w.Headers {
		if m.Headers[name], err = f(value, at(fieldHeader+name)); err != nil {
			return m, err
		}
	}
	if w.Secrets != nil {
		m.Secrets = make([]string, len(w.Secrets))
	}
	for i, secret := range w.Secrets {
		if m.Secrets[i], err = f(secret, at(fieldSecret)); err != nil {
			return m, err
		}
	}
	return m, nil
}
