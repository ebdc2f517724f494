package integration_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// standardSecret is what the configured webhooks sign with.
const standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// config is a configuration file in the making.
type config struct {
	values  map[string]any
	secrets []string // must not be printed
}

// set sets an option, "section.key".
func (c *config) set(option string, value any) *config {
	section, key, _ := strings.Cut(option, ".")
	if c.values[section] == nil {
		c.values[section] = map[string]any{}
	}
	c.values[section].(map[string]any)[key] = value
	return c
}

// webhook adds a subscription to everything, on a path of the receiver that is also its name. Changes are laid over it.
func (c *config) webhook(r *receiver.Receiver, path string, changes ...map[string]any) *config {
	r.Expect(path, standardSecret)
	hook := map[string]any{"name": strings.TrimPrefix(path, "/"), "url": r.URL(path), "secret": standardSecret}
	for _, change := range changes {
		maps.Copy(hook, change)
	}
	hooks, _ := c.values["webhook"].([]map[string]any)
	c.values["webhook"] = append(hooks, hook)
	return c
}

// write writes the file and returns its name.
func (c *config) write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	text, err := toml.Marshal(c.values)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
