package integration_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// door is a receiver that must be asked before it may be called.
type door struct {
	mu              sync.Mutex
	open            bool
	asked, uncalled int // handshakes; deliveries before one was agreed to
	got             map[string]bool
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case r.Method == http.MethodOptions && d.open:
		d.asked++
		w.Header().Set("WebHook-Allowed-Origin", r.Header.Get("WebHook-Request-Origin"))
	case r.Method == http.MethodOptions:
		d.asked++
		w.WriteHeader(http.StatusForbidden)
	case !d.open || d.asked == 0 || r.Header.Get("WebHook-Request-Origin") != "relay.test":
		d.uncalled++
	default:
		d.got[r.Header.Get("webhook-id")] = true
	}
}

func (d *door) look() (asked, uncalled, got int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked, d.uncalled, len(d.got)
}

// A webhook that asks for a handshake gets nothing until its endpoint has agreed, then everything, and is not asked again
// after a restart. What its URL holds behind the host is printed nowhere.
func TestHandshake_NothingIsSentBeforeTheEndpointAgrees(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := &door{got: map[string]bool{}}
	server := httptest.NewServer(d)
	defer server.Close()
	cfg := w.config().set("delivery.pause", "100ms").set("delivery.pause_max", "100ms").set("delivery.origin", "relay.test").
		webhook(w.hook, "/door", map[string]any{"url": server.URL + "/path-of-a-secret?token=secret-in-the-query", "handshake": true})
	cfg.secrets = append(cfg.secrets, "secret-in-the-query", "path-of-a-secret")
	p := start(t, cfg)
	var a account
	for i := range 30 {
		w.createUser(&a, i)
	}
	eventually(t, "the endpoint has refused a few times", func() (bool, error) {
		asked, _, _ := d.look()
		return asked > 3, nil
	})
	w.until("no attempt is used up, and nothing has a row", `SELECT count(*) = 0 FROM relay.retry`)
	p.metric(`iam_relay_delivery_attempts_total{class="handshake_refused"}`)
	d.mu.Lock()
	d.open = true
	d.mu.Unlock()
	all := func(n int) {
		t.Helper()
		eventually(t, "everything has arrived", func() (bool, error) {
			_, _, got := d.look()
			return got == n, nil
		})
	}
	all(30)
	w.until("the agreement is kept", `SELECT handshake <> '' FROM relay.webhook`)
	p.stop()
	asked, _, _ := d.look()
	start(t, cfg)
	w.createUser(&a, 100)
	all(31)
	again, uncalled, _ := d.look()
	if again != asked || uncalled > 0 {
		t.Errorf("%d handshakes, %d before the restart; %d deliveries without one", again, asked, uncalled)
	}
}

// What is done by command takes effect in a running relay: webhooks that are made, changed, disabled, enabled and removed.
func TestHand_ARunningRelayFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	p := start(t, cfg)
	p.command("webhooks", "add", "--name", "own", "--url", w.hook.URL("/own"), "--event", "user.*", "--unsigned")
	var a account
	n := 0
	// comes makes users until one of them has come to the path: nothing says from which moment on a change holds.
	comes := func(path string) {
		t.Helper()
		eventually(t, "events come to "+path, func() (bool, error) {
			w.createUser(&a, n)
			n++
			s := w.hook.Snapshot()
			return len(arrived(&s, path)) > 0, nil
		})
	}
	comes("/own")
	p.command("webhooks", "update", "own", "--url", w.hook.URL("/moved"))
	comes("/moved")
	p.command("webhooks", "disable", "own", "--reason", "a test")
	w.until("it is disabled", `SELECT NOT enabled AND disabled_reason = 'manually: a test' AND lease IS NULL AND cursor IS NOT NULL FROM relay.webhook WHERE origin = 'relay'`)
	s := w.hook.Snapshot()
	before := len(arrived(&s, "/moved"))
	for i := range 20 {
		w.createUser(&a, 10_000+i)
	}
	a.arrives(t, w.hook, "/all")
	s = w.hook.Snapshot()
	if n := len(arrived(&s, "/moved")); n != before {
		t.Errorf("%d events have come to a webhook that is disabled", n-before)
	}
	p.command("webhooks", "enable", "own")
	if _, err := w.hook.Wait(within(t), func(s *receiver.Snapshot) bool { return len(arrived(s, "/moved")) >= before+20 }); err != nil {
		t.Error(err)
	}
	p.command("webhooks", "remove", "own")
	w.until("it is removed", `SELECT removed_after IS NOT NULL FROM relay.webhook WHERE origin = 'relay'`)
	p.stop()
}
