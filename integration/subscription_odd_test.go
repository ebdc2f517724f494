package integration_test

import (
	"testing"
)

// A webhook that the IAM accepts with white space around its URL, characters that a URL must not contain, and headers that only
// HTTP or the relay may set, gets its events all the same; what is left out is logged once.
func TestSubscription_OddURLAndHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hook, secret := w.subscribe("/odd", "user.created")
	w.exec(`UPDATE webhooks SET name = NULL, endpoint = E'\u00a0 ' || $2 || E'?a=b c&q=ü#top \n',
		headers = '{"Content-Type": "text/plain", "Host": "elsewhere", "Content-Length": "1", "Connection": "close", "X-Line": "a\nb",
			"X-Kept": " kept\n", "X-Number": 5, "X-Null": null}' WHERE id = $1`, hook, w.hook.URL("/odd"))
	cfg := w.config()
	cfg.secrets = append(cfg.secrets, secret)
	p := start(t, cfg)
	var users account
	for n := range 3 {
		w.createUser(&users, n)
	}
	for _, d := range users.arrives(t, w.hook, "/odd") {
		if got := d.Header.Get("X-Kept"); got != "kept" {
			t.Errorf("X-Kept = %q", got)
		}
		if got := d.Header.Get("X-Number"); got != "5" {
			t.Errorf("X-Number = %q", got)
		}
		if got := d.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type = %q", got)
		}
		if d.Query != "a=b%20c&q=%C3%BC" {
			t.Errorf("query %q", d.Query)
		}
	}
	p.waitFor(within(t), `headers of the webhook are not sent; remove them in the IAM" webhook=iam:`+hook)
	p.waitFor(within(t), `header \"X-Line\": the value contains a line break`)
}
