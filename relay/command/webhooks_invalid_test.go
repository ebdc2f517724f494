package command_test

import (
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// A webhook to which nothing can be sent shows as such, with the reason and the remedy, until it is corrected.
func TestWebhooks_Invalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	iam := ferriskey.New(w.conn)
	realm, err := iam.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	invalid := map[string]struct{ url, reason string }{
		"scheme":    {"ftp://files.example.com/", "the URL must begin with https://"},
		"plain":     {"http://plain.example.com/", "the URL must begin with https://; for http:// set delivery.allow_http = true"},
		"malformed": {"https://%zz/", "the URL is malformed; write https://host/path"},
		"hostless":  {"https:///path", "the URL has no host; write https://host/path"},
		"internal":  {"https://169.254.169.254/latest", "169.254.169.254 is an internal or special-purpose address; to allow it, add its network to delivery.allow_networks"},
	}
	for name, test := range invalid {
		if _, _, err := iam.CreateWebhook(t.Context(), realm.ID, ferriskey.Webhook{Endpoint: test.url, Name: name, Events: []string{"user.created"}}); err != nil {
			t.Fatal(err)
		}
	}
	relay := w.start()
	list, status := w.webhooks("list"), w.run("status")
	for name, test := range invalid {
		state := "invalid (" + test.reason + "; correct it in the IAM)"
		for what, text := range map[string]string{"list": list.out, "status": status.out, "show": w.webhooks("show", name).out} {
			if !strings.Contains(text, state) {
				t.Errorf("%s of %s does not say %q:\n%s", what, name, state, text)
			}
		}
	}
	w.exec(`UPDATE webhooks SET endpoint = 'https://ok.example.com/'`)
	w.eventually(`SELECT FROM ` + w.name + `.webhook WHERE url = 'https://ok.example.com/' HAVING count(*) = 5`)
	w.webhooks("show", "scheme").has("state          live")
	relay.stop()
}
