package command_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A webhook receives its outstanding events, also those from the time when it was disabled, or before it was removed.
func TestWebhooks_ReceiveOutstandingEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arrived := make(chan string, 100)
	var sick atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		if sick.Load() {
			res.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		arrived <- req.URL.Path
	}))
	t.Cleanup(receiver.Close)
	w.configure(w.url, append(local, `schedule = ["1h"]`, "[[webhook]]", `name = "crm"`, `url = "`+receiver.URL+`/crm"`, "unsigned = true", `events = ["realm.created"]`)...)
	next := func(when string, want ...string) {
		t.Helper()
		open := map[string]bool{}
		for _, path := range want {
			open[path] = true
		}
		for len(open) > 0 {
			select {
			case path := <-arrived:
				if !open[path] {
					t.Errorf("%s: something came to %s", when, path)
				}
				delete(open, path)
			case <-t.Context().Done():
				return
			}
		}
	}
	realm := func(name string) {
		t.Helper()
		w.exec(`INSERT INTO realms (id, name) VALUES (gen_random_uuid(), $1)`, name)
	}
	settled := func() {
		t.Helper()
		w.eventually(`SELECT FROM ` + w.name + `.position, ` + w.name + `.watermark WHERE last_event > 0 AND delivered = last_event`)
	}
	w.start().stop()
	w.webhooks("add", "--name", "erp", "--url", receiver.URL+"/erp", "--event", "realm.created")
	relay := w.start()
	realm("one")
	next("both", "/crm", "/erp")
	settled()
	relay.stop()

	w.webhooks("disable", "crm", "--reason", "pager")
	sick.Store(true)
	relay = w.start()
	realm("two")
	w.eventually(`SELECT FROM ` + w.name + `.retry`)
	w.eventually(`SELECT FROM ` + w.name + `.webhook, ` + w.name + `.position WHERE name = 'crm' AND cursor < last_event`)
	relay.stop()
	w.webhooks("show", "crm").has("state          disabled (manually: pager)", "deliveries     behind by 1, 0 retrying, 0 dead")

	w.webhooks("show", "erp").has("deliveries     behind by 0, 1 retrying, 0 dead")
	w.webhooks("enable", "crm")
	w.webhooks("remove", "erp")
	sick.Store(false)
	w.exec(`UPDATE ` + w.name + `.retry SET due = now()`)
	relay = w.start()
	next("outstanding events", "/crm", "/erp")
	realm("three")
	next("erp is gone", "/crm")
	settled()
	relay.stop()
	if len(arrived) > 0 {
		t.Errorf("something more came to %s", <-arrived)
	}
	w.start() // which cleans up at its start
	w.eventually(`SELECT WHERE NOT EXISTS (SELECT FROM ` + w.name + `.webhook WHERE name = 'erp')`)
}
