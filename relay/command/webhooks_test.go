package command_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// webhooks runs one of the commands for webhooks.
func (w *world) webhooks(command string, arguments ...string) result {
	w.t.Helper()
	r := run(w.t, append([]string{"webhooks", command, "--config", w.config}, arguments...)...)
	r.out, r.err = w.plain(r.out), w.plain(r.err)
	return r
}

// file writes a file of the test's own.
func (w *world) file(lines ...string) string {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

var (
	shownSecret = regexp.MustCompile(`whsec_[A-Za-z0-9+/]{43}=`)
	rfcTimes    = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
)

// steady replaces what differs from run to run.
func steady(text string) string {
	return rfcTimes.ReplaceAllString(shownSecret.ReplaceAllString(text, "SECRET"), "TIME")
}

// newOutbox is a world whose outbox is made, with a webhook of the IAM and one of the configuration.
func newOutbox(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.configure(w.url, "[[webhook]]", `name = "crm"`, `url = "https://crm.example.com/hook?token=conf-url-token"`, "unsigned = true", `events = ["realm.created"]`)
	iam := ferriskey.New(w.conn)
	realm, err := iam.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hook, _, err := iam.CreateWebhook(t.Context(), realm.ID, ferriskey.Webhook{Endpoint: "https://iam.example.com/hook", Name: "w1", Events: []string{"user.created"}})
	if err != nil {
		t.Fatal(err)
	}
	w.replaces = append(w.replaces, hook, "HOOK", realm.ID, "REALM")
	w.start().stop()
	return w
}

func TestWebhooks_FromFirstToLast(t *testing.T) {
	t.Parallel()
	w := newOutbox(t)
	r := w.webhooks("add", "--name", "erp", "--url-file", w.file("https://erp.example.com/hook?k=1"), "--description", "the ERP", "--event", "user.*", "--event", "role.created",
		"--tenant", "acme", "--header-file", w.file("X-Key: one", "", "Authorization: Bearer two"), "--ordering", "resource", "--schedule", "5s, 1m", "--in-flight", "3",
		"--rate", "2.5", "--cloudevents", "--handshake")
	r.out = steady(r.out)
	r.prints("webhook erp (relay:4294967296): added\nits secret, which is shown only now:\nSECRET\n")
	if r.code != 0 || r.err != "iam-relay: warning: no tenant has the key or name \"acme\" now; the webhook receives events once there is one\n" {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	const made = `{
  "id": 4294967296,
  "origin": "relay",
  "key": "4294967296",
  "name": "erp",
  "tenant": "acme",
  "url": "https://erp.example.com/…",
  "state": "live",
  "behind": 0,
  "retrying": 0,
  "dead": 0,
  "description": "the ERP",
  "headers": [
    "Authorization",
    "X-Key"
  ],
  "events": [
    "user.*",
    "role.created"
  ],
  "secrets": 1,
  "options": {
    "ordering": "resource",
    "schedule": [
      "5s",
      "1m0s"
    ],
    "in_flight": 3,
    "rate": 2.5,
    "cloudevents": true,
    "handshake": true
  },
  "created": "TIME",
  "changed": "TIME"
}
`
	r = w.webhooks("show", "erp", "--json")
	r.out = steady(r.out)
	r.done(made)
	r = w.webhooks("update", "relay:4294967296", "--json", "--name", "erp2", "--event", "*", "--ordering", "none", "--schedule", "default", "--in-flight", "0", "--rate", "0",
		"--cloudevents=false", "--handshake=false", "--header-file", "", "--tenant", "*")
	r.out = steady(r.out)
	changed := strings.NewReplacer("erp\"", "erp2\"", "acme", "*", "4294967296", "4294967297").Replace(made) // another tenant: a new webhook
	changed = regexp.MustCompile(`(?s)"headers": .*"secrets"`).ReplaceAllString(changed, "\"headers\": [],\n  \"events\": [\n    \"*\"\n  ],\n  \"secrets\"")
	changed = regexp.MustCompile(`(?s)"options": .*"created"`).ReplaceAllString(changed, "\"options\": {},\n  \"created\"")
	r.done(changed)
	w.webhooks("show", "4294967297").has("name           erp2", "description    the ERP", "url            https://erp.example.com/…", "events         *", "signed         with 1 secret", "state          live")

	r = w.webhooks("list")
	r.out = spaces.ReplaceAllString(r.out, "  ")
	r.done(`webhook  origin:key  tenant  url  state  failing since  paused until  behind  retrying  dead
crm  config:crm  *  https://crm.example.com/…  live  -  -  0  0  0
w1  iam:HOOK  master  https://iam.example.com/…  live  -  -  0  0  0
erp2  relay:4294967297  *  https://erp.example.com/…  live  -  -  0  0  0
`)
	w.webhooks("update", "erp2", "--unsigned", "--url", "https://erp.example.net").done("webhook erp2 (relay:4294967297): changed\n")
	w.webhooks("secrets", "erp2").done("no secrets: requests are sent without a signature\n")
	w.webhooks("remove", "erp2").done("webhook erp2 (relay:4294967297): removed; its outstanding deliveries are still sent\n")
	w.webhooks("remove", "erp2").fails(1, "webhook erp2 (relay:4294967297) was removed")
	if !w.exists(`SELECT FROM ` + w.name + `.webhook, ` + w.name + `.position WHERE name = 'erp2' AND removed_after = last_event AND url = 'https://erp.example.net'`) {
		t.Error("it does not end at the last event")
	}
	r = w.webhooks("list", "--all")
	r.out = spaces.ReplaceAllString(r.out, "  ")
	r.has("erp  relay:4294967296  acme  https://erp.example.com/…  removed (given to another tenant)  -  -  0  0  0", "erp2  relay:4294967297  *  https://erp.example.net/…  removed  -  -  0  0  0")
}

func TestWebhooks_DefinedElsewhere(t *testing.T) {
	t.Parallel()
	w := newOutbox(t)
	const (
		inIAM    = "webhook w1 (iam:HOOK) is defined in the IAM, in tenant REALM: change it there, and the relay follows at once"
		inConfig = "webhook crm (config:crm) is defined in the configuration: change its [[webhook]] in CONFIG, and restart the relay"
	)
	for _, command := range [][]string{{"update", "--description", "x"}, {"remove"}, {"rotate"}, {"secrets"}} {
		w.webhooks(command[0], append(command[1:], "w1")...).fails(2, inIAM)
		w.webhooks(command[0], append(command[1:], "config:crm")...).fails(2, inConfig)
		w.webhooks(command[0], append(command[1:], "nobody")...).fails(1, `there is no webhook "nobody"; iam-relay webhooks lists them`)
	}
	w.webhooks("add", "--name", "crm", "--url", "https://crm2.example.com", "--unsigned").fails(1, "webhook crm: config:crm has that name; choose another one")
	w.webhooks("add", "--name", "crm2", "--url", "https://crm2.example.com", "--unsigned").done("webhook crm2 (relay:4294967296): added\n")
	w.exec(`UPDATE ` + w.name + `.webhook SET name = 'crm' WHERE origin = 'relay'`) // as a webhook of the configuration may come later
	w.webhooks("disable", "crm").fails(2, `"crm" may be config:crm or relay:4294967296; give one of these`)
	w.exec(`UPDATE ` + w.name + `.webhook SET name = 'relay:4294967296' WHERE origin = 'iam'`) // as a tenant may call its own
	w.webhooks("show", "relay:4294967296").has("name           crm")
	w.exec(`UPDATE ` + w.name + `.webhook SET name = '4294967296' WHERE origin = 'iam'`)
	w.webhooks("show", "4294967296").has("name           crm")
	w.exec(`UPDATE ` + w.name + `.webhook SET name = 'w1' WHERE origin = 'iam'`)
	w.webhooks("add", "--name", "crm", "--url", "https://crm3.example.com").fails(1, "webhook crm: config:crm has that name; choose another one")

	// Delivery can be disabled for all of them.
	w.webhooks("disable", "w1", "--reason", "pager").done("webhook w1 (iam:HOOK): disabled; its events wait until it is enabled\n")
	w.webhooks("disable", "config:crm").done("webhook crm (config:crm): disabled; its events wait until it is enabled\n")
	w.webhooks("show", "w1").has("state          disabled (manually: pager)")
	w.start().stop() // the configuration is read again
	w.webhooks("show", "config:crm").has("state          disabled (manually)")
	w.webhooks("enable", "w1").done("webhook w1 (iam:HOOK): enabled; it continues from the event at which it was disabled\n")
	w.webhooks("enable", "w1").done("webhook w1 (iam:HOOK): already enabled\n")
	w.webhooks("enable", "config:crm", "--json")
	w.webhooks("show", "config:crm").has("state          live")

	w.configure(w.url, "[[webhook]]", `name = "crm"`, `url = "https://crm.example.com/"`, "unsigned = true", "enabled = false")
	w.start().stop()
	const off = "webhook crm (config:crm) is switched off by the configuration: set enabled = true in its [[webhook]] in CONFIG, and restart the relay"
	w.webhooks("enable", "config:crm").fails(2, off)
	w.webhooks("disable", "config:crm").fails(2, off)
	w.webhooks("show", "config:crm").has("state          off")
}

func TestWebhooks_Mistakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.webhooks("list").fails(1, "database NAME has no outbox in schema NAME that role postgres can read; create it with iam-relay run or iam-relay setup, and see iam-relay check")
	w.run("setup")
	w.webhooks("list").done("no webhooks\n")
	w.webhooks("list", "--json").done("[]\n")
	const secret = "whsec_sesame" // malformed
	ok := []string{"--name", "a", "--url", "https://a.example.com"}
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"--url", "https://a.example.com"}, "no name given: --name is required"},
		{[]string{"--name", "7", "--url", "https://a.example.com"}, "--name must not be a number: numbers are ids"},
		{[]string{"--name", "iam:7", "--url", "https://a.example.com"}, "--name must not begin with iam:, which is an origin"},
		{[]string{"--name", "a\x1b[2J", "--url", "https://a.example.com"}, "--name must be up to 200 bytes of printable characters"},
		{[]string{"--name", "a"}, "no URL given: use --url or --url-file"},
		{[]string{"--name", "a", "--url", "http://sesame.example.com"}, "the URL must begin with https://; for http:// set delivery.allow_http = true"},
		{[]string{"--name", "a", "--url", "https://10.0.0.1/"}, "10.0.0.1 is an internal or special-purpose address; to allow it, add its network to delivery.allow_networks"},
		{[]string{"--name", "a", "--url-file", w.file("https://a.example.com", "https://b.example.com")}, "--url-file: the file has more than one line"},
		{append(ok, "--url-file", "x"), "give either --url or --url-file"},
		{append(ok, "--event", "user.craeted"), `event pattern "user.craeted" matches no event; did you mean "user.created"?`},
		{append(ok, "--tenant", ""), `--tenant is empty; "*" is all tenants`},
		{append(ok, "--tenant", "a\xff"), "name, description and tenant must be UTF-8"},
		{append(ok, "--header-file", w.file("Host: sesame", "A b: sesame")), `header "A b": the name must consist of letters, digits and hyphens; header "Host" is reserved for the relay or HTTP; remove it`},
		{append(ok, "--header-file", w.file("X: sesame", "X: sesame")), `header "X" is given twice`},
		{append(ok, "--header-file", w.file("sesame")), "--header-file: header 1 is not of the form Name: value"},
		{append(ok, "--header-file", "/nowhere"), "--header-file: open /nowhere: no such file or directory"},
		{append(ok, "--ordering", "odd", "--rate", "-1"), `ordering is "odd"; it must be "none", "resource" or "strict"; rate must be between 0 (no limit) and 1000000 requests per second`},
		{append(ok, "--rate", "NaN"), "rate must be between 0 (no limit) and 1000000 requests per second"},
		{append(ok, "--schedule", "5"), `--schedule: "5" is not a duration; write durations like 5s,1m,10m`},
		{append(ok, "--schedule", "1ms"), "each delay in the schedule must be between 10ms and 720h"},
		{append(ok, "--secret-file", w.file(secret)), `--secret-file: after "whsec_" the secret must be padded base64; generate one with: echo whsec_$(openssl rand -base64 32)`},
		{append(ok, "--secret-file", w.file("sesame")), "--secret-file: the secret is shorter than 16 bytes; generate one with: echo whsec_$(openssl rand -base64 32)"},
		{append(ok, "--secret-file", w.file("")), "--secret-file: FILE is empty"},
		{append(ok, "--secret-file", w.file("sesame"), "--unsigned"), "give either --unsigned or --secret-file"},
		{append(ok, "--reveal"), "unknown flag --reveal; see iam-relay webhooks add --help"},
		{append(ok, "more"), `unexpected argument "more"; see iam-relay webhooks add --help`},
	} {
		r := w.webhooks("add", test.arguments...)
		r.err = regexp.MustCompile(`/\S+/file`).ReplaceAllString(r.err, "FILE")
		r.fails(2, test.want)
		if strings.Contains(r.err+r.out, "sesame") {
			t.Errorf("%q: a secret shows in %q", test.arguments, r.err)
		}
	}
	w.webhooks("list").done("no webhooks\n")
	run(t, "webhooks", "--config", w.config, "lists").fails(2, `unknown command "lists"; did you mean "webhooks list"?`)
	if r := run(t, "webhooks", "--config", w.config, "list"); r.out != "no webhooks\n" {
		t.Errorf("the configuration before the command: %q, %q", r.out, r.err)
	}
	w.webhooks("show").fails(2, "iam-relay webhooks show needs WEBHOOK; see iam-relay webhooks show --help")
	if r := run(t, "webhooks", "--help"); r.code != 0 || !strings.Contains(r.out, "  rotate      Give") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
}

func TestWebhooks_RotatedSecretsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("setup")
	first := shownSecret.FindString(w.webhooks("add", "--name", "a", "--url", "https://a.example.com").out)
	r := w.webhooks("rotate", "a")
	second := shownSecret.FindString(r.out)
	r.out = steady(r.out)
	r.done("webhook a (relay:4294967296): signed with a new secret, and with the old ones until TIME\nits secret, which is shown only now:\nSECRET\n")
	if first == "" || second == "" || first == second {
		t.Errorf("secrets %q and %q", first, second)
	}
	if !w.exists(`SELECT FROM `+w.name+`.webhook WHERE secrets = $1 AND secrets_expire[1] IS NULL AND secrets_expire[2] BETWEEN now() + '23 hours' AND now() + '24 hours'
		AND cardinality(secrets_created) = 2`, []string{second, first}) {
		t.Error("they are not stored in that order, or do not end")
	}
	r = w.webhooks("secrets", "a")
	r.out = steady(r.out)
	r.done("kind   created               expires\nwhsec  TIME  -\nwhsec  TIME  TIME\n")
	r = w.webhooks("show", "a")
	r.out = steady(r.out)
	r.has("signed         with 2 secrets, the next ends at TIME")
	w.exec(`UPDATE ` + w.name + `.webhook SET secrets_expire[2] = now() - interval '1 second'`)
	r = w.webhooks("secrets", "a", "--json")
	r.out = steady(r.out)
	r.done("[\n  {\n    \"kind\": \"whsec\",\n    \"created\": \"TIME\",\n    \"expires\": null\n  }\n]\n")
	w.webhooks("rotate", "a", "--grace", "0s", "--secret-file", w.file("a text of one's own")).done("webhook a (relay:4294967296): signed with a new secret only\n")
	r = w.webhooks("secrets", "a")
	r.out = steady(r.out)
	r.done("kind  created               expires\ntext  TIME  -\n")
	var got struct{ Secret string }
	if err := json.Unmarshal([]byte(w.webhooks("rotate", "a", "--json").out), &got); err != nil || !shownSecret.MatchString(got.Secret) {
		t.Errorf("JSON has secret %q (%v)", got.Secret, err)
	}
	w.webhooks("rotate", "a", "--grace", "-1s").fails(2, "--grace must be from 0s to 8760h")
	w.webhooks("update", "a", "--secret-file", w.file("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")).done("webhook a (relay:4294967296): changed\n")
	w.webhooks("rotate", "a").fails(2, "the webhook signs with an asymmetric key, whose public half its receivers have: give the new key with --secret-file")
}

func TestWebhooks_UpdateEnablesWhatTheRelayDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("setup")
	w.webhooks("add", "--name", "a", "--url", "https://a.example.com", "--unsigned")
	stop := func(reason string) {
		w.exec(fmt.Sprintf(`UPDATE %s.webhook SET enabled = false, disabled_reason = '%s', cursor = 0, failing_since = '2026-11-25 12:00Z', paused_until = now() + interval '1 hour'`, w.name, reason))
	}
	stop("the endpoint answered 410 Gone")
	r := w.webhooks("list", "--json")
	r.out = steady(r.out)
	r.done(`[
  {
    "id": 4294967296,
    "origin": "relay",
    "key": "4294967296",
    "name": "a",
    "tenant": "*",
    "url": "https://a.example.com/…",
    "state": "disabled",
    "disabled_reason": "the endpoint answered 410 Gone",
    "failing_since": "TIME",
    "paused_until": "TIME",
    "behind": 0,
    "retrying": 0,
    "dead": 0
  }
]
`)
	w.webhooks("update", "a", "--description", "x").done("webhook a (relay:4294967296): changed, and enabled again\n")
	w.webhooks("show", "a").has("state          catching up", "failing since  -", "paused until   -")
	w.webhooks("disable", "a", "--reason", "pager")
	w.webhooks("update", "a", "--description", "y").done("webhook a (relay:4294967296): changed\n")
	r = w.webhooks("show", "a")
	r.has("state          disabled (manually: pager)")
	if diff := cmp.Diff("", r.err); diff != "" {
		t.Error(diff)
	}
	w.webhooks("update", "a").fails(2, "nothing to change; see iam-relay webhooks update --help for the flags")
	w.webhooks("update", "a", "--unsigned=false").fails(2, "the webhook has no secret; make one with iam-relay webhooks rotate")
	w.webhooks("remove", "a").done("webhook a (relay:4294967296): removed; it was disabled, so its outstanding deliveries are dropped\n")
}
