package config

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// readFiles fills the options that have a twin named *_file. A relative path starts from the configuration file's
// directory.
func (c *Config) readFiles(ps *problems) {
	if c.Mapping.File != "" { // it is read by those who know what a mapping is
		c.Mapping.File = c.fromHere(c.Mapping.File)
	}
	if text := c.readTwin(ps, "source.url", string(c.Source.URL), c.Source.URLFile); text != nil {
		c.Source.URL = DSN(trimNewline(text))
	}
	if text := c.readTwin(ps, "outbox.url", string(c.Outbox.URL), c.Outbox.URLFile); text != nil {
		c.Outbox.URL = DSN(trimNewline(text))
	}
	if text := c.readTwin(ps, "delivery.proxy", string(c.Delivery.Proxy), c.Delivery.ProxyFile); text != nil {
		c.Delivery.Proxy = URL(trimNewline(text))
	}
	if text := c.readTwin(ps, "outbox.key", "", c.Outbox.KeyFile); text != nil {
		c.Outbox.readKeys(ps, text)
	}
	for i := range c.Webhooks {
		w, key := &c.Webhooks[i], element("webhook", i)
		if text := c.readTwin(ps, key+".url", string(w.URL), w.URLFile); text != nil {
			w.URL = URL(trimNewline(text))
		}
		if text := c.readTwin(ps, key+".secret", string(w.Secret), w.SecretFile); text != nil {
			for line := range strings.Lines(string(text)) {
				if line = trimNewline([]byte(line)); line != "" {
					w.Previous = append(w.Previous, webhook.Secret(line))
				}
			}
			if len(w.Previous) > 0 {
				w.Secret, w.Previous = w.Previous[0], w.Previous[1:]
			}
		}
		if text := c.readTwin(ps, key+".headers", "", w.HeadersFile); text != nil {
			readHeaders(ps, key+".headers_file", w, text)
		}
		for _, file := range []struct {
			option, path string
			into         *webhook.Secret
		}{
			{"ca", w.CAFile, &w.CA},
			{"client_cert", w.ClientCertFile, &w.ClientCert},
			{"client_key", w.ClientKeyFile, &w.ClientKey},
			{"token", w.TokenFile, &w.Token},
			{"oauth2.client_secret", w.OAuth2.ClientSecretFile, &w.OAuth2.ClientSecret},
		} {
			if text := c.readTwin(ps, join(key, file.option), "", file.path); text != nil {
				*file.into = webhook.Secret(trimNewline(text))
			}
		}
	}
}

// readKeys reads one key a line.
func (o *Outbox) readKeys(ps *problems, text []byte) {
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != len(Key{}) {
			ps.add("outbox.key_file", "line %d of the file is not the base64 of 32 bytes; make a key with: openssl rand -base64 32", i+1)
			return
		}
		o.Keys = append(o.Keys, Key(key))
	}
}

// fromHere is a path that, if it is relative, starts from the configuration file's directory.
func (c *Config) fromHere(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.places[""].File), path)
}

// readTwin returns the content of the file that the option's twin names, or nil.
func (c *Config) readTwin(ps *problems, key, plain, path string) []byte {
	if path == "" {
		return nil
	}
	if plain != "" {
		ps.add(key+"_file", "set it or %s, not both", key)
		return nil
	}
	path = c.fromHere(path)
	text, err := os.ReadFile(path)
	if err != nil {
		ps.add(key+"_file", "%s %s", path, readReason(err))
		return nil
	}
	if len(bytes.TrimSpace(text)) == 0 {
		ps.add(key+"_file", "%s is empty", path)
		return nil
	}
	return text
}

// readHeaders adds lines of the form "Name: value" to the webhook's headers.
func readHeaders(ps *problems, key string, w *Webhook, text []byte) {
	if w.Headers == nil {
		w.Headers = map[string]webhook.Secret{}
	}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			ps.add(key, "line %d of the file is not of the form Name: value", i+1)
			return
		}
		w.Headers[strings.TrimSpace(name)] = webhook.Secret(strings.TrimSpace(value))
	}
}

func trimNewline(text []byte) string { return strings.TrimRight(string(text), "\r\n") }
