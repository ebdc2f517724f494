package config

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

var update = flag.Bool("update", false, "rewrite the .want files in testdata/invalid")

// Each file in testdata/invalid has a .want file that lists all its problems.
func TestLoad_Invalid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/invalid/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			t.Parallel()
			c, err := Load(file, nil)
			invalid, ok := errors.AsType[*Error](err)
			if !ok || c != nil {
				t.Fatalf("Load = %v, %v", c, err)
			}
			got := strings.ReplaceAll(invalid.Error(), filepath.Dir(file)+"/", "") + "\n"
			if strings.Contains(got, "sesame") {
				t.Errorf("the error contains a secret:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad_MissingFile(t *testing.T) {
	t.Parallel()
	_, err := Load("testdata/none.toml", nil)
	want := "testdata/none.toml: cannot be read: no such file or directory; run iam-relay init to create it"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestLoad_OutboxKeys(t *testing.T) {
	t.Parallel()
	c, err := Load("example.toml", []string{"IAM_RELAY__OUTBOX__KEY_FILE=testdata/secrets/keys"})
	if err != nil {
		t.Fatal(err)
	}
	keys := c.Outbox.EncryptionKeys()
	if len(keys) != 2 || !strings.HasPrefix(string(keys[0]), "sesame11") || !strings.HasPrefix(string(keys[1]), "sesame22") {
		t.Errorf("%d keys, or in the wrong order", len(keys))
	}
	if text := fmt.Sprintf("%v %+v %#v %v", c.Outbox.Keys, c.Outbox, c.Outbox.Keys, c.Redacted()); strings.Contains(text, "115 101 115") || strings.Contains(text, "0x73, 0x65") || !strings.Contains(text, "[redacted]") {
		t.Errorf("a key is printed: %s", text)
	}
}

func TestLoad_MappingFilePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for given, want := range map[string]string{"mine.toml": filepath.Join(dir, "mine.toml"), "/etc/mine.toml": "/etc/mine.toml"} {
		file := filepath.Join(dir, "config.toml")
		text := fmt.Sprintf("[source]\nurl = \"postgres://localhost/iam\"\n[mapping]\nfile = %q\n", given)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Load(file, nil); err != nil || c.Mapping.File != want {
			t.Errorf("%s resolves to %s, %v; want %s", given, c.Mapping.File, err, want)
		}
	}
}

func TestLoad_UnreadableFile(t *testing.T) {
	t.Parallel()
	_, err := Load("testdata", nil)
	if want := "testdata: cannot be read: is a directory; check the path and its permissions"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestLoad_SecretFiles(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/valid/files.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Source.URL); got != "postgres://relay:s3same@db/iam" {
		t.Errorf("source.url = %q", got)
	}
	if c.OutboxURL() != c.Source.URL {
		t.Errorf("outbox = %q", string(c.OutboxURL()))
	}
	want := []webhook.Endpoint{
		{
			Origin: webhook.OriginConfig, Key: "a", Name: "a", URL: "https://example.com/hook?token=sesame",
			Headers: map[string]string{"Authorization": "Bearer sesame", "X-Tenant": "a", "X-Plain": "1"},
			Secrets: []webhook.Secret{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "0123456789abcdef0123456789abcdef"},
			Events:  []string{"*"}, Tenant: "*", Options: webhook.Options{CloudEvents: true, Handshake: true},
		},
		{
			Origin: webhook.OriginConfig, Key: "b", Name: "b", Description: "second", URL: "https://example.com",
			Headers: map[string]string{}, Events: []string{"user.*"}, Tenant: "master", Disabled: true,
			Credentials: webhook.Credentials{Bearer: "sesame-token"},
		},
		{
			Origin: webhook.OriginConfig, Key: "c", Name: "c", URL: "https://example.com", Headers: map[string]string{},
			Secrets: []webhook.Secret{"0123456789abcdef"}, Events: []string{"*"}, Tenant: "*",
			Credentials: webhook.Credentials{OAuth2: &webhook.OAuth2{
				TokenURL: "https://idp.example.com/token?key=sesame", ClientID: "relay", ClientSecret: "sesame-token", Scopes: []string{"a", "b"},
			}},
		},
	}
	if diff := cmp.Diff(want, c.Endpoints()); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if sender := c.Delivery.Sender("1"); sender.Proxy != "http://relay:sesame@proxy:3128" || sender.MaxPayload != 256<<10 || sender.CloudEventsSource != "iam-relay" {
		t.Errorf("sender = %+v", sender)
	}
	if diff := cmp.Diff(webhook.Schedule{Delays: []time.Duration{time.Second, 2 * time.Second}, Jitter: 0.2}, c.Delivery.RetrySchedule()); diff != "" {
		t.Errorf("schedule (-want +got):\n%s", diff)
	}
	for name, text := range map[string]string{
		"Redacted": fmt.Sprint(c.Redacted()), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", *c),
	} {
		for _, secret := range []string{"sesame", "s3same", "MfKQ9r8", "0123456789abcdef"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s contains %s: %s", name, secret, text)
			}
		}
	}
	if got := c.Redacted()["delivery.proxy"]; got != "http://proxy:3128/…" {
		t.Errorf("redacted proxy = %s", got)
	}
	if got := c.Redacted()["webhook[0].url"]; got != "https://example.com/…" {
		t.Errorf("redacted URL = %s", got)
	}
}

func TestLoad_Environment(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/valid/files.toml", []string{
		"IAM_RELAY__SOURCE__URL=postgres://other/iam",
		"IAM_RELAY__SOURCE__CREATE_PUBLICATION=false",
		"IAM_RELAY__SOURCE__MEMORY_LIMIT=8MiB",
		"IAM_RELAY__MAPPING__DROP=user.created, role.created",
		"IAM_RELAY__OUTBOX__URL_FILE=../secrets/dsn",
		"IAM_RELAY__DELIVERY__TIMEOUT=20s",
		"IAM_RELAY__DELIVERY__IN_FLIGHT=5",
		"IAM_RELAY__DELIVERY__JITTER=0",
		"IAM_RELAY__DELIVERY__SCHEDULE=1s,1m",
		"IAM_RELAY__DELIVERY__ALLOW_NETWORKS=10.0.0.0/8,fd00::/8",
		"IAM_RELAY__ADMIN__LISTEN=",
		"IAM_RELAY__DELIVERY__PROXY=http://proxy:3128", // overrides the file's proxy_file
		"IAM_RELAY__DELIVERY__MAX_PAYLOAD=0B",
		// Kubernetes sets these for a Service of that name.
		"IAM_RELAY_PORT=tcp://10.0.0.1:80", "IAM_RELAY_SERVICE_HOST=10.0.0.1",
		"HOME=/",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Source.URL = "postgres://other/iam"
	want.Source.CreatePublication = false
	want.Source.MemoryLimit = Size{8 << 20}
	want.Mapping.Drop = []string{"user.created", "role.created"}
	want.Outbox.URL, want.Outbox.URLFile = "postgres://relay:s3same@db/iam", "../secrets/dsn"
	want.Delivery.Timeout = Duration{20 * time.Second}
	want.Delivery.InFlight = 5
	want.Delivery.Jitter = 0
	want.Delivery.Schedule = []Duration{{time.Second}, {time.Minute}}
	want.Delivery.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	want.Admin.Listen = ""
	want.Delivery.Proxy = "http://proxy:3128"
	want.Delivery.MaxPayload = Size{}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreFields(Config{}, "Webhooks"), cmpopts.IgnoreUnexported(Config{}), cmp.Comparer(same[netip.Prefix])); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func same[T comparable](a, b T) bool { return a == b }

func TestLoad_EnvironmentWithoutFile(t *testing.T) {
	t.Parallel()
	if _, err := Load("", []string{"IAM_RELAY__SOURCE__URL=postgres://other/iam"}); err != nil {
		t.Error(err)
	}
	_, err := Load("", nil)
	if err == nil || !strings.HasPrefix(err.Error(), "source.url: is missing") {
		t.Errorf("error = %v", err)
	}
}

func TestLoad_InvalidEnvironment(t *testing.T) {
	t.Parallel()
	_, err := Load("", []string{
		"IAM_RELAY__SOURCE__URL=postgres://other/iam",
		"IAM_RELAY__SOURCE__SLOTS=sesame",
		"IAM_RELAY__DELIVERY__TIMEOUT=5",
		"IAM_RELAY__DELIVERY__QUEUE=many",
		"IAM_RELAY__DELIVERY__IN_FLIGHT=0",
		"IAM_RELAY__DELIVERY__ALLOW_NETWORKS=intern",
		"IAM_RELAY__WEBHOOK__URL=sesame",
		"IAM_RELAY__ZEBRA=1",
	})
	want := []string{
		"environment variable IAM_RELAY__SOURCE__SLOTS: unknown option; did you mean IAM_RELAY__SOURCE__SLOT?",
		"environment variable IAM_RELAY__DELIVERY__QUEUE: delivery.queue: must be a whole number",
		"environment variable IAM_RELAY__WEBHOOK__URL: webhooks can only be set in the file; use its *_file options to keep secrets out of it",
		"environment variable IAM_RELAY__ZEBRA: unknown option; unset it",
		`environment variable IAM_RELAY__DELIVERY__TIMEOUT: delivery.timeout: "5" is not a duration; write a number with its unit, such as "5s", "10m" or "24h"`,
		`environment variable IAM_RELAY__DELIVERY__ALLOW_NETWORKS: delivery.allow_networks[0]: "intern" is not a network; write it with its prefix length, such as "10.0.0.0/8" or "192.0.2.7/32"`,
		"environment variable IAM_RELAY__DELIVERY__IN_FLIGHT: delivery.in_flight: must be between 1 and 10000",
	}
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
