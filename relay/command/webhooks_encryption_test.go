package command_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// stored is all that the tables of the relay's schema hold, as text.
func (w *world) stored() string {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url) // beside one that may be in use
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(w.t.Context()))
	rows, err := conn.Query(w.t.Context(), `SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'`, w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	var all strings.Builder
	for _, table := range tables {
		var text string
		if err := conn.QueryRow(w.t.Context(), fmt.Sprintf(`SELECT coalesce(string_agg(x::text, chr(10)), '') FROM %s.%s x`, w.name, table)).Scan(&text); err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, text)
	}
	return all.String()
}

func key(text string) string {
	return base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%-32s", text)))
}

var keyIDs = regexp.MustCompile(`key [0-9a-f]{8}`)

func TestWebhooks_SecretsAreEncryptedInTheOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	requests := make(chan func(secret string) error, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		header := req.Header.Clone()
		requests <- func(secret string) error {
			verifier, err := standardwebhooks.NewWebhook(secret)
			if err != nil || header.Get("X-Key") != "sesame header" {
				return fmt.Errorf("header X-Key is %q (%w)", header.Get("X-Key"), err)
			}
			return verifier.Verify(body, header)
		}
	}))
	t.Cleanup(receiver.Close)
	configured := "whsec_" + base64.StdEncoding.EncodeToString([]byte("the secret of the configuration!"))
	settings := append(local, "[[webhook]]", `name = "crm"`, `url = "`+receiver.URL+`/sesame"`, `secret = "`+configured+`"`,
		`headers = { X-Key = "sesame header" }`, `events = ["realm.created"]`)
	restart := func(keys ...string) *running {
		t.Helper()
		w.keys = ""
		if keys != nil {
			w.keys = w.file(keys...)
		}
		w.configure(w.url, settings...)
		return w.start()
	}
	iam := ferriskey.New(w.conn)
	realm, err := iam.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hook := ferriskey.Webhook{Endpoint: receiver.URL + "/sesame", Name: "w1", Headers: map[string]string{"X-Key": "sesame header"}, Events: []string{"role.created"}}
	hookID, iamSecret, err := iam.CreateWebhook(t.Context(), realm.ID, hook)
	if err != nil {
		t.Fatal(err)
	}
	w.replaces = append(w.replaces, hookID, "HOOK")

	relay := restart(key("first"))
	secret := shownSecret.FindString(w.webhooks("add", "--name", "own", "--event", "client.created", "--url", receiver.URL+"/sesame", "--header-file", w.file("X-Key: sesame header")).out)
	rotated := shownSecret.FindString(w.webhooks("rotate", "own").out)
	// The URL of an IAM's webhook is part of FerrisKey's documented webhook events; so the new one is harmless.
	hook.Endpoint, hook.Description = receiver.URL+"/harmless", "moved"
	if err := iam.UpdateWebhook(t.Context(), hookID, hook); err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO realms (id, name) VALUES (gen_random_uuid(), 'acme')`)
	w.eventually(`SELECT FROM `+w.name+`.webhook WHERE description = 'moved' AND events = $1`, []string{"role.created"})
	if err := (<-requests)(configured); err != nil {
		t.Errorf("what the relay has sent: %v", err)
	}
	holdsNone := func(when string) {
		t.Helper()
		text := w.stored()
		for _, one := range []string{"sesame", iamSecret, configured, secret, rotated} {
			for _, form := range []string{one, hex.EncodeToString([]byte(one))} {
				if i := strings.Index(text, form); i >= 0 || one == "" {
					t.Errorf("%s: secret %q is in the tables: …%s…", when, one, text[max(i-200, 0):i+len(form)])
				}
			}
		}
		if strings.Count(text, "encrypted:v1:") < 9 {
			t.Errorf("%s: the tables hold too little that is encrypted\n%s", when, text)
		}
	}
	holdsNone("with a key")
	for _, one := range []string{secret, rotated} {
		if r := w.webhooks("test", "own"); r.code != 0 {
			t.Errorf("test: %s%s", r.out, r.err)
		}
		if err := (<-requests)(one); err != nil {
			t.Errorf("what test has sent: %v", err)
		}
	}
	relay.stop()

	// The next key, first with the previous one, then alone.
	restart(key("second"), key("first")).stop()
	holdsNone("after a key rotation")
	restart(key("second")).stop()
	if r := w.webhooks("test", "own"); r.code != 0 {
		t.Fatalf("test: %s%s", r.out, r.err)
	}
	if err := (<-requests)(secret); err != nil {
		t.Errorf("after the change of the key: %v", err)
	}

	// Without it, there is one error.
	w.keys = w.file(key("first"))
	w.configure(w.url, settings...)
	for _, command := range []string{"run", "status"} {
		r := w.run(command)
		r.err = keyIDs.ReplaceAllString(r.err, "key ID")
		if !strings.HasSuffix(r.err, "is encrypted with key ID, which the file of outbox.key_file does not have: add that key again, below the first line\n") || r.code != 1 {
			t.Errorf("%s: exit code %d, stderr %q", command, r.code, r.err)
		}
	}
	w.keys = ""
	w.configure(w.url, settings...)
	r := w.webhooks("list")
	r.err = keyIDs.ReplaceAllString(r.err, "key ID")
	if !strings.HasSuffix(r.err, "is encrypted with key ID, and outbox.key_file is not set: set it to the file with this key\n") || r.code != 1 {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}

	// If the key is lost for good, docs/security.md describes this:
	w.dropSlot()
	w.exec(`DELETE FROM ` + w.name + `.webhook WHERE url LIKE 'encrypted:%'`)
	w.exec(`UPDATE ` + w.name + `.position SET state = 'new'`)
	restart(key("third")).stop()
	r = w.webhooks("list")
	r.out = spaces.ReplaceAllString(r.out, "  ")
	r.has("w1  iam:HOOK  master  "+receiver.URL+"/…  live  -  -  0  0  0", "crm  config:crm  *  "+receiver.URL+"/…  live  -  -  0  0  0")
	holdsNone("started again")
}

func TestWebhooks_PlainSecretsAreEncryptedOnceThereIsAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	iam := ferriskey.New(w.conn)
	realm, err := iam.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := iam.CreateWebhook(t.Context(), realm.ID, ferriskey.Webhook{Endpoint: "https://h.example.com/sesame", Headers: map[string]string{"X": "sesame"}}); err != nil {
		t.Fatal(err)
	}
	w.start().stop()
	w.webhooks("add", "--name", "own", "--url", "https://h.example.com/sesame")
	if !strings.Contains(w.stored(), "sesame") {
		t.Fatal("the test does not see what is stored")
	}
	w.keys = w.file(key("first"))
	w.configure(w.url)
	w.start().stop()
	if strings.Contains(w.stored(), "sesame") {
		t.Error("a secret is in the tables still")
	}
}
