package command_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// local lets the relay send to receivers of this machine.
var local = []string{"[delivery]", "allow_http = true", `allow_networks = ["127.0.0.0/8"]`}

func TestWebhooks_Test(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type request struct {
		header http.Header
		body   string
	}
	requests := make(chan request, 10)
	var status atomic.Int32
	status.Store(http.StatusNoContent)
	receiver := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		requests <- request{req.Header, string(body)}
		answer := int(status.Load())
		res.WriteHeader(answer)
		if answer != http.StatusNoContent {
			fmt.Fprint(res, "no\x1b[2J, said the receiver")
		}
	}))
	t.Cleanup(receiver.Close)
	w.configure(w.url, local...)
	w.run("setup")
	secret := shownSecret.FindString(w.webhooks("add", "--name", "a", "--url", receiver.URL+"/hook", "--header-file", w.file("X-Key: k")).out)
	second := shownSecret.FindString(w.webhooks("rotate", "a").out)

	r := w.webhooks("test", "a")
	r.out = regexp.MustCompile(`[\d.]+ ms`).ReplaceAllString(r.out, "N ms")
	r.out = regexp.MustCompile(`(connect|first byte) [\d.]+`).ReplaceAllString(r.out, "$1 N")
	r.done("delivered, status 204, in N ms (connect N, first byte N)\n")
	got := <-requests
	for _, one := range []string{secret, second} {
		verifier, err := standardwebhooks.NewWebhook(one)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify([]byte(got.body), got.header); err != nil {
			t.Errorf("signature: %v", err)
		}
	}
	if got.header.Get("X-Iam-Relay-Event") != "webhook.test" || got.header.Get("X-Key") != "k" || !strings.HasPrefix(got.header.Get("Webhook-Id"), "test_") {
		t.Errorf("headers %v", got.header)
	}
	if want := `{"event":"webhook.test","timestamp":"TIME","resource_id":"UUID","data":{"webhook":"a"}}`; uuids.ReplaceAllString(steady(got.body), "UUID") != want {
		t.Errorf("body %s", got.body)
	}

	status.Store(http.StatusGone)
	r = w.webhooks("test", "--response", "a", "--json")
	r.fails(1, "webhook a: the test event was not delivered")
	var result struct {
		Class, Error, Response string
		Status                 int
		Duration               float64 `json:"duration_ms"`
	}
	if err := json.Unmarshal([]byte(r.out), &result); err != nil {
		t.Fatal(err)
	}
	if result.Class != "http_410" || result.Status != 410 || result.Response != "no\x1b[2J, said the receiver" || result.Duration <= 0 || result.Error == "" {
		t.Errorf("it says %s", r.out)
	}
	if r = w.webhooks("test", "a"); strings.Contains(r.out, "said") {
		t.Errorf("the answer shows unasked: %s", r.out)
	}
	w.webhooks("test", "a", "--response").has(`response: "no\x1b[2J, said the receiver"`)
	w.webhooks("show", "a").has("state          live") // a test changes nothing

	receiver.Close()
	if r = w.webhooks("test", "a"); !strings.HasPrefix(r.out, "connect_refused, in ") {
		t.Errorf("it says %s", r.out)
	}
	w.configure(w.url, "[delivery]", "allow_http = true")
	if r = w.webhooks("test", "a"); !strings.HasPrefix(r.out, "invalid_endpoint, in ") || !strings.Contains(r.out, "add its network to delivery.allow_networks") {
		t.Errorf("it says %s", r.out)
	}
	if w.exists(`SELECT FROM ` + w.name + `.attempt UNION ALL SELECT FROM ` + w.name + `.event`) {
		t.Error("a test was stored")
	}
}

// The output of commands ends up in terminals, logs and tickets.
func TestWebhooks_NoCommandPrintsSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, _ *http.Request) { res.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(receiver.Close)
	w.configure(w.url, append(local, "[[webhook]]", `name = "crm"`, `url = "`+receiver.URL+`/sesame-path?sesame=1"`, `secret = "sesame of the configuration"`, `headers = { X = "sesame header" }`)...)
	iam := ferriskey.New(w.conn)
	realm, err := iam.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, iamSecret, err := iam.CreateWebhook(t.Context(), realm.ID, ferriskey.Webhook{
		Endpoint: receiver.URL + "/sesame-path", Name: "w1", Headers: map[string]string{"X": "sesame header"}, Events: []string{"user.created"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start().stop()
	own := []string{"--url", receiver.URL + "/sesame?sesame", "--header-file", w.file("X: sesame header"), "--secret-file", w.file("sesame one of its own", "sesame two of its own")}
	for _, command := range [][]string{
		append([]string{"add", "--name", "own"}, own...),
		append([]string{"update", "own"}, own...),
		{"update", "own", "--json", "--description", "d"},
		{"update", "own", "--url", "https://%sesame"},
		{"list"},
		{"list", "--json"},
		{"show", "own"},
		{"show", "own", "--json"},
		{"show", "w1", "--json"},
		{"show", "crm", "--json"},
		{"secrets", "own"},
		{"secrets", "own", "--json"},
		{"secrets", "w1"},
		{"secrets", "crm"},
		{"test", "own"},
		{"test", "w1", "--json"},
		{"test", "crm", "--response"},
		{"disable", "own", "--json"},
		{"enable", "own", "--json"},
		{"rotate", "own", "--secret-file", w.file("sesame three of its own"), "--json"},
		{"remove", "own", "--json"},
		{"status"},
		{"status", "--json"},
		{"check", "--endpoints"},
	} {
		var r result
		if command[0] == "status" || command[0] == "check" {
			r = w.run(command[0], command[1:]...)
		} else {
			r = w.webhooks(command[0], command[1:]...)
		}
		if text := r.out + r.err; strings.Contains(text, "sesame") || strings.Contains(text, iamSecret) || text == "" {
			t.Errorf("%q prints a secret, or nothing:\n%s", command, text)
		}
	}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// A receiver that refuses unknown event names is tested with one that it knows, and with data of the webhook's tenant only.
func TestWebhooks_TestWithEventOfItsTenant(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	bodies := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		bodies <- string(body)
		if !strings.Contains(string(body), `"event":"user.created"`) {
			res.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(receiver.Close)
	s.run("setup")
	add := func(name, tenant string) {
		s.webhooks("add", "--name", name, "--url", receiver.URL, "--tenant", tenant, "--event", "role.deleted")
	}
	other, err := s.iam.CreateRealm(t.Context(), "other", "Other")
	if err != nil {
		t.Fatal(err)
	}
	add("by-key", s.acme.ID)
	add("by-name", "acme")
	add("all", "*")
	add("other", other.ID)
	relay := s.start()
	id := s.user("one")
	s.eventually(`SELECT FROM ` + s.name + `.event WHERE name = 'user.created'`)
	relay.stop()

	for name, sees := range map[string]bool{"by-key": true, "all": true, "by-name": false, "other": false} {
		if r := s.webhooks("test", name, "--event", "user.created"); r.code != 0 {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.err)
			continue
		}
		body := <-bodies
		if got := strings.Contains(body, id); got != sees {
			t.Errorf("%s: it gets data of the user: %t, want %t", name, got, sees)
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(body), &fields); err != nil || len(fields) != 4 || !uuids.MatchString(fmt.Sprint(fields["resource_id"])) {
			t.Errorf("%s: body %s, %v", name, body, err)
		}
	}
	s.webhooks("test", "all").fails(1, "webhook all: the test event was not delivered")
	<-bodies
	s.webhooks("test", "all", "--event", "user.craeted").fails(2, `--event: event "user.craeted" matches no event; did you mean "user.created"?`)
	s.webhooks("test", "all", "--event", "user.*").fails(2, `--event takes one name, not a pattern: "user.*"`)
}
