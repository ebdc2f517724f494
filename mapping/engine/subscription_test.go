package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

func TestSubscription(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("realms id=@a0 name=master")
	w.mirrorRow("realms id=@a1 name=acme")
	w.mirrorRow(`webhooks id=@61 realm_id=@a1 endpoint=https://h.example.com/1 name=w1 secret=s3 headers="{\"X-Key\": \"k\"}"`)
	w.mirrorRow("webhook_subscribers id=@71 webhook_id=@61 name=user.deleted")
	w.mirrorRow("webhook_subscribers id=@72 webhook_id=@61 name=user.created")
	w.mirrorRow("webhook_subscribers id=@73 webhook_id=@61 name=user.created")
	hooks, events := w.mapper.WebhookTables()
	key := cdc.Key(long("@61"))
	rows := &fetched{w: w, mirror: w.mirror, allowed: map[Ref]bool{}}
	w.mapper.SubscriptionRefs(w.mirror.Get(hooks, key), func(r Ref) { rows.allowed[r] = true })
	got, err := w.mapper.Subscription(w.mirror.Get(hooks, key), rows)
	if err != nil {
		t.Fatal(err)
	}
	want := Subscription{
		Key: key, Tenant: cdc.Key(long("@a1")), Name: "w1", URL: "https://h.example.com/1", Secret: "s3",
		Headers: map[string]string{"X-Key": "k"}, Events: []string{"user.created", "user.deleted"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	moved := w.changes([]string{"update webhook_subscribers id=@71 webhook_id=@62"})[0]
	Resolve(&moved, w.mirror.Get(events, moved.Key))
	if diff := cmp.Diff([]cdc.Key{key, cdc.Key(long("@62"))}, w.mapper.AffectedWebhooks(&moved)); diff != "" {
		t.Errorf("subscriber of another webhook (-want +got):\n%s", diff)
	}
	deleted := w.changes([]string{"delete webhooks id=@61"})[0]
	if diff := cmp.Diff([]cdc.Key{key}, w.mapper.AffectedWebhooks(&deleted)); diff != "" {
		t.Errorf("deleted webhook (-want +got):\n%s", diff)
	}
	realms := w.relation("realms").Table
	for name, root := range map[string]bool{"@a0": true, "@a1": false} {
		if got := w.mapper.IsRootTenant(w.mirror.Get(realms, cdc.Key(long(name)))); got != root {
			t.Errorf("root tenant %s: %t", name, got)
		}
	}
}

func TestSubscription_ErrorsContainNoValues(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	for name, row := range map[string]string{
		"no url":  `id=@61 realm_id=@a1 endpoint="" secret=hidden`,
		"headers": `id=@61 realm_id=@a1 endpoint=https://hidden headers="{\"a\": [\"hidden\"]}"`,
	} {
		r := w.relation("webhooks")
		_, err := w.mapper.Subscription(w.row(r, row, nil), &fetched{w: w, mirror: w.mirror, anything: true})
		if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), long("@61")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A webhook or a subscribed event that is marked as deleted does not count.
func TestSubscription_SoftDeleted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.toml")
	own := `
extends = "ferriskey"
[tables.webhooks]
deleted = "name == 'deleted'"
[tables.webhook_subscribers]
deleted = "name startsWith 'old.'"
`
	if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, options: language.Options{File: file}, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("webhooks id=@61 realm_id=@a1 endpoint=https://h.example.com/1 name=deleted")
	w.mirrorRow("webhooks id=@62 realm_id=@a1 endpoint=https://h.example.com/2 name=active")
	w.mirrorRow("webhook_subscribers id=@71 webhook_id=@62 name=old.created")
	w.mirrorRow("webhook_subscribers id=@72 webhook_id=@62 name=user.created")
	hooks, _ := w.mapper.WebhookTables()
	rows := &fetched{w: w, mirror: w.mirror, anything: true}
	if _, err := w.mapper.Subscription(w.mirror.Get(hooks, cdc.Key(long("@61"))), rows); !errors.Is(err, ErrSoftDeleted) {
		t.Errorf("webhook that is marked as deleted: %v", err)
	}
	got, err := w.mapper.Subscription(w.mirror.Get(hooks, cdc.Key(long("@62"))), rows)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"user.created"}, got.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestParseHeaders(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]map[string]string{
		"": nil, " null ": nil, "[]": nil, "{}": {}, `{"a": "b", "n": 1.50, "t": true, "z": null}`: {"a": "b", "n": "1.50", "t": "true"},
	} {
		if got, ok := parseHeaders(source); !ok || cmp.Diff(want, got) != "" {
			t.Errorf("%s: %v %t", source, got, ok)
		}
	}
	for _, source := range []string{`"a"`, `[1]`, `{"a": {}}`, `{"a": ["b"]}`, `{`, "x"} {
		if got, ok := parseHeaders(source); ok {
			t.Errorf("%s: %v", source, got)
		}
	}
}
