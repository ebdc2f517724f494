package outbox

import "fmt"

// The fields of a webhook that are sealed. Headers keep their names.
const (
	fieldURL         = "url"
	fieldHeader      = "header "
	fieldSecret      = "secret"
	fieldCredentials = "credentials"
)

// sealed returns a copy of the webhook as it is stored.
func (k *keys) sealed(w *Webhook) Webhook {
	s, err := w.mapTexts(func(text string, at place) (string, error) { return k.seal(text, at), nil })
	if err != nil { // sealing has none
		panic(err)
	}
	return s
}

// opened returns a copy of a stored webhook with its texts.
func (k *keys) opened(w *Webhook) (Webhook, error) {
	o, err := w.mapTexts(k.open)
	if err != nil {
		return o, fmt.Errorf("webhook %s:%s %w", w.Origin, w.Key, err)
	}
	return o, nil
}

// allCurrent reports whether a stored webhook need not be sealed anew.
func (k *keys) allCurrent(w *Webhook) bool {
	all := true
	_, err := w.mapTexts(func(text string, _ place) (string, error) { all = all && k.current(text); return text, nil })
	return all && err == nil
}

// mapTexts returns a copy of the webhook whose secret texts went through f.
func (w *Webhook) mapTexts(f func(string, place) (string, error)) (Webhook, error) {
	m := *w
	at := func(field string) place { return place{w.Origin, w.Key, field} }
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
