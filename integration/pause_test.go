package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// An endpoint that is down is paused: its events cost a cursor and no rows, its attempts are not used up, and when it is back it
// has everything soon, the oldest event first.
func TestPause_ADeadEndpointCostsACursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/down").webhook(w.hook, "/ops", map[string]any{"events": []string{"endpoint.*", "delivery.exhausted"}}).
		set("delivery.pause_after", 5).set("delivery.pause", "200ms").set("delivery.pause_max", "500ms").set("delivery.schedule", []string{"1h"})
	w.hook.Respond(onPath("/down", receiver.Response{Status: 500}))
	start(t, cfg)
	var a account
	for i := range 8 {
		w.createUser(&a, i)
	}
	w.until("it pauses", `SELECT pauses > 0 AND cursor IS NOT NULL AND failing_since IS NOT NULL FROM relay.webhook WHERE name = 'down'`)
	w.createUsers(&a, 100, 2000)
	w.until("it has been asked a few times", `SELECT pauses > 4 FROM relay.webhook WHERE name = 'down'`)
	w.until("all is in the event log", `SELECT last_event >= 2008 FROM relay.position`)
	if retries := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.retry`)); retries > 13 {
		t.Errorf("%d retries are stored: each event of a paused endpoint has a row", retries)
	}
	if n := value[int](t, w.db, w.inOutbox(`SELECT coalesce(max(attempts), 0) FROM relay.retry`)); n > 1 {
		t.Errorf("a delivery has used up %d attempts while the endpoint rested", n)
	}
	requests := 0
	for _, d := range w.hook.Snapshot().Deliveries {
		if d.Path == "/down" {
			requests++
		}
	}
	if requests > 60 {
		t.Errorf("%d requests were made to a paused endpoint", requests)
	}
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	w.exec(w.inOutbox(`UPDATE relay.retry SET due = now()`)) // those that failed first are due in an hour
	a.arrives(t, w.hook, "/down")
	s := w.hook.Snapshot()
	if first := arrived(&s, "/down")[0]; first.ID != value[string](t, w.db, w.inOutbox(`SELECT webhook_id FROM relay.event WHERE name = 'user.created' ORDER BY id LIMIT 1`)) {
		t.Error("the first event to arrive is not the oldest")
	}
	if s.Duplicates > 0 {
		t.Errorf("%d events came twice without a crash", s.Duplicates)
	}
	w.until("it is well", `SELECT pauses = 0 AND failing_since IS NULL AND paused_until IS NULL FROM relay.webhook WHERE name = 'down'`)
	reports(t, w.hook, "/ops", "endpoint.failing", "endpoint.recovered")
}

// The request that probes a paused endpoint uses no attempt up, also where it carries an event from the event log: that is not
// stored as a retry, and keeps its position.
func TestPause_ProbeFromTheEventLogUsesNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/down").set("delivery.pause_after", 1).set("delivery.pause", "50ms").set("delivery.pause_max", "50ms").
		set("delivery.schedule", []string{"1h"})
	w.hook.Respond(onPath("/down", receiver.Response{Status: 500}))
	p := start(t, cfg)
	var a account
	first := w.createUser(&a, 0)
	w.until("the first failure is to be retried", `SELECT count(*) = 1 FROM relay.retry`)
	p.command("deliveries", "skip", "1", "--webhook", "down") // so that no retry is there to probe with
	for i := range 5 {
		w.createUser(&a, 1+i)
	}
	pauses := value[int](t, w.db, w.inOutbox(`SELECT pauses FROM relay.webhook`))
	w.until("it has been asked a few times", `SELECT pauses > $1 + 3 FROM relay.webhook`, pauses)
	if n := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.retry`)); n > 0 {
		t.Errorf("%d retries are stored", n)
	}
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	got, err := w.hook.Wait(within(t), func(s *receiver.Snapshot) bool { return len(arrived(s, "/down")) >= 5 })
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range arrived(&got, "/down") {
		if d.Resource == first || d.Attempt != 1 {
			t.Errorf("%s has arrived with attempt %d", d.Resource, d.Attempt)
		}
	}
}

// reports waits for the operational events, in that order, and checks what they say.
func reports(t *testing.T, r *receiver.Receiver, path string, names ...string) {
	t.Helper()
	s, err := r.Wait(within(t), func(s *receiver.Snapshot) bool { return len(arrived(s, path)) >= len(names) })
	if err != nil {
		t.Fatal(err)
	}
	got := arrived(&s, path)
	for i, name := range names {
		if got[i].Event != name || !strings.Contains(string(got[i].Body), `"webhook":{"id":`) {
			t.Errorf("operational event %d is %s: %s", i, got[i].Event, got[i].Body)
		}
	}
	if len(got) != len(names) {
		t.Errorf("%d operational events, not %d", len(got), len(names))
	}
}

// Retry-After is for the whole endpoint: nobody else is sent to it either.
func TestPause_RetryAfterHoldsForTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/busy").set("delivery.schedule", []string{"10ms", "10ms"})
	asked := false
	w.hook.Respond(func(*receiver.Delivery) receiver.Response {
		if !asked {
			asked = true
			return receiver.RetryAfter(503, 3*time.Second)
		}
		return receiver.Response{}
	})
	start(t, cfg)
	var a account
	w.createUser(&a, 0)
	w.until("the endpoint is left alone", `SELECT paused_until IS NOT NULL FROM relay.webhook`)
	for i := range 30 {
		w.createUser(&a, 1+i)
	}
	a.arrives(t, w.hook, "/busy")
	s := w.hook.Snapshot()
	if early := s.Deliveries[1].At.Sub(s.Deliveries[0].At); early < 2900*time.Millisecond {
		t.Errorf("the second request came %s after the first, which had asked for 3 s", early)
	}
}

// An endpoint that does nothing but fail is disabled in time, with the reason, goes on collecting, and resumes where it
// stopped when it is enabled.
func TestPause_HopelessEndpointIsDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/hopeless").webhook(w.hook, "/ops", map[string]any{"events": []string{"endpoint.*"}}).
		set("delivery.pause_after", 3).set("delivery.pause", "50ms").set("delivery.pause_max", "100ms").
		set("delivery.disable_after", "3s").set("delivery.disable_spread", "1200ms").set("delivery.schedule", []string{"100ms", "1h"})
	w.hook.Respond(onPath("/hopeless", receiver.Response{Status: 500}))
	start(t, cfg)
	var a account
	for i := range 20 {
		w.createUser(&a, i)
	}
	w.until("it is disabled", `SELECT NOT enabled AND disabled_reason LIKE 'every attempt has failed since %http_5xx' AND lease IS NULL FROM relay.webhook WHERE name = 'hopeless'`)
	for i := range 20 {
		w.createUser(&a, 100+i)
	}
	reports(t, w.hook, "/ops", "endpoint.failing", "endpoint.disabled")
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	w.exec(w.inOutbox(`UPDATE relay.webhook SET enabled = true, disabled_reason = '', paused_until = NULL, pauses = 0, failing_since = NULL,
		version = nextval('relay.webhook_version') WHERE name = 'hopeless'`))
	w.exec(w.inOutbox(`UPDATE relay.retry SET due = now()`))
	a.arrives(t, w.hook, "/hopeless")
}

// The rate that a webhook allows is kept, in bursts of a tenth of a second, and costs nobody else anything.
func TestPause_RateIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/rated", map[string]any{"rate": 50.0}).webhook(w.hook, "/free")
	start(t, cfg)
	var a account
	w.createUsers(&a, 0, 200)
	a.arrives(t, w.hook, "/free")
	a.arrives(t, w.hook, "/rated")
	s := w.hook.Snapshot()
	got := arrived(&s, "/rated")
	if took := got[len(got)-1].At.Sub(got[0].At); took < 3800*time.Millisecond { // 195 at 50 a second
		t.Errorf("200 requests at 50 a second took %s", took)
	}
}

// A star asks for everything but operational events, and no webhook hears about itself.
func TestPause_OperationalEventsGoToSubscribers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/fails", map[string]any{"events": []string{"*", "endpoint.*", "delivery.exhausted"}}).webhook(w.hook, "/all").
		webhook(w.hook, "/other", map[string]any{"events": []string{"delivery.exhausted"}, "tenant": "other"}).
		webhook(w.hook, "/ops", map[string]any{"events": []string{"delivery.exhausted"}}).set("delivery.schedule", []string{"20ms"})
	w.hook.Respond(onPath("/fails", receiver.Response{Status: 500}))
	start(t, cfg)
	var a account
	w.createUser(&a, 0)
	reports(t, w.hook, "/ops", "delivery.exhausted")
	w.createUser(&a, 1)
	reports(t, w.hook, "/ops", "delivery.exhausted", "delivery.exhausted")
	a.arrives(t, w.hook, "/all")
	s := w.hook.Snapshot()
	for i := range s.Deliveries {
		if d := &s.Deliveries[i]; d.Path != "/ops" && d.Event == "delivery.exhausted" {
			t.Errorf("%s was sent to %s", d.Event, d.Path)
		}
	}
	w.audit()
}
