package config

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// readFiles reads the files that *_file options name into the options they replace. Relative paths are relative to the
// directory of the configuration file.
func (c *Config) readFiles(ps *problems) {
	if c.Mapping.File != "" { // package mapping reads it
		c.Mapping.File = c.resolve(c.Mapping.File)
	}
	if text := c.readFile(ps, "source.url", string(c.Source.URL), c.Source.URLFile); text != nil {
		c.Source.URL = DSN(trimNewline(text))
	}
	if text := c.readFile(ps, "outbox.url", string(c.Outbox.URL), c.Outbox.URLFile); text != nil {
		c.Outbox.URL = DSN(trimNewline(text))
	}
	if text := c.readFile(ps, "delivery.proxy", string(c.Delivery.Proxy), c.Delivery.ProxyFile); text != nil {
		c.Delivery.Proxy = URL(trimNewline(text))
	}
	if text := c.readFile(ps, "outbox.key", "", c.Outbox.KeyFile); text != nil {
		c.Outbox.readKeys(ps, text)
	}
	for i := range c.Webhooks {
		w, key := &c.Webhooks[i], element("webhook", i)
		if text := c.readFile(ps, key+".url", string(w.URL), w.URLFile); text != nil {
			w.URL = URL(trimNewline(text))
		}
		if text := c.readFile(ps, key+".secret", string(w.Secret), w.SecretFile); text != nil {
			for line := range strings.Lines(string(text)) {
				if line = trimNewline([]byte(line)); line != "" {
					w.Previous = append(w.Previous, webhook.Secret(line))
				}
			}
			if len(w.Previous) > 0 {
				w.Secret, w.Previous = w.Previous[0], w.Previous[1:]
			}
		}
		if text := c.readFile(ps, key+".headers", "", w.HeadersFile); text != nil {
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
			if text := c.readFile(ps, join(key, file.option), "", file.path); text != nil {
				*file.into = webhook.Secret(trimNewline(text))
			}
		}
	}
}

// readKeys reads one key per line.
func (o *Outbox) readKeys(ps *problems, text []byte) {
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != len(Key{}) {
			ps.add("outbox.key_file", "line %d of the file is not 32 bytes in base64; generate a key with: openssl rand -base64 32", i+1)
			return
		}
		o.Keys = append(o.Keys, Key(key))
	}
}

// resolve makes a relative path relative to the directory of the configuration file.
func (c *Config) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.places[""].File), path)
}

// readFile returns the content of the file that the *_file variant of the option names; nil if that is not set or cannot be
// read. Plain is the value of the option itself, with which the variant conflicts.
func (c *Config) readFile(ps *problems, key, plain, path string) []byte {
	if path == "" {
		return nil
	}
	if plain != "" {
		ps.add(key+"_file", "conflicts with %s; remove one of them", key)
		return nil
	}
	path = c.resolve(path)
	text, err := os.ReadFile(path)
	if err != nil {
		ps.add(key+"_file", "%s %s; check the path and its permissions", path, readReason(err))
		return nil
	}
	if len(bytes.TrimSpace(text)) == 0 {
		ps.add(key+"_file", "%s is empty; write the value into it, or remove this option", path)
		return nil
	}
	return text
}

// readHeaders adds the file's lines, which have the form "Name: value", to the webhook's headers.
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
			ps.add(key, "line %d of the file must have the form Name: value", i+1)
			return
		}
		w.Headers[strings.TrimSpace(name)] = webhook.Secret(strings.TrimSpace(value))
	}
}

func trimNewline(text []byte) string { return strings.TrimRight(string(text), "\r\n") }
