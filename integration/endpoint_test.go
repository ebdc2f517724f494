package integration_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// onPath answers the requests of one path in a way of its own, the others with 204.
func onPath(path string, answer receiver.Response) func(*receiver.Delivery) receiver.Response {
	return func(d *receiver.Delivery) receiver.Response {
		if d.Path == path {
			return answer
		}
		return receiver.Response{}
	}
}

// closedAddress is one on which nothing listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Endpoints that hang, refuse and fail change nothing for the healthy one, nor for the slot, nor for the sessions of the
// relay; and what they missed is retried with the same id and bytes once they recover.
func TestEndpoint_FailingOnesDelayNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refusing := closedAddress(t)
	cfg := w.config().webhook(w.hook, "/healthy").webhook(w.hook, "/hangs").webhook(w.hook, "/fails").
		webhook(w.hook, "/refuses", map[string]any{"url": "http://" + refusing + "/refuses"}).
		set("delivery.timeout", "5m").set("delivery.connect_timeout", "1s").set("delivery.in_flight", 4).set("delivery.queue", 20).
		set("delivery.schedule", []string{"300ms", "300ms", "300ms", "300ms", "300ms", "300ms", "1s", "1s", "1s", "1s", "2s", "2s", "2s", "2s", "2s", "2s"})
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		switch d.Path {
		case "/hangs":
			return receiver.Response{Hang: true}
		case "/fails":
			return receiver.Response{Status: 500, Body: []byte("not now")}
		}
		return receiver.Response{}
	})
	p := start(t, cfg)
	var a account
	for i := range 100 {
		w.createUser(&a, i)
	}
	healthy := a.arrives(t, w.hook, "/healthy")
	end := value[string](t, w.db, `SELECT pg_current_wal_lsn()::text`)
	w.until("the slot moves on", `SELECT confirmed_flush_lsn >= $2::pg_lsn FROM pg_replication_slots WHERE slot_name = $1`, w.name, end)
	w.idleOverHTTP(w.db, "/hangs")
	w.until("failures are to be retried", `SELECT count(DISTINCT class) = 2 FROM relay.retry WHERE class IN ('http_5xx', 'connect_refused')`)
	p.ready(true)
	p.metric(`iam_relay_delivery_attempts_total{class="http_5xx"}`)
	p.metric(`iam_relay_delivery_attempts_total{class="connect_refused"}`)

	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	w.hook.HangUp()
	late, err := receiver.Start(receiver.Options{Address: refusing})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	late.Expect("/refuses", standardSecret)
	same := byID(healthy)
	for path, r := range map[string]*receiver.Receiver{"/hangs": w.hook, "/fails": w.hook, "/refuses": late} {
		for _, d := range a.arrives(t, r, path) {
			if same[d.ID] != string(d.Body) {
				t.Errorf("%s: event %s has other bytes than at the healthy endpoint", path, d.ID)
			}
		}
	}
	if s := late.Snapshot(); s.Faulty > 0 {
		t.Error(s.FirstProblem)
	}
	w.until("no retries are left", `SELECT count(*) = 0 FROM relay.retry`)
	w.audit()
}

func byID(deliveries []receiver.Delivery) map[string]string {
	bodies := map[string]string{}
	for i := range deliveries {
		bodies[deliveries[i].ID] = string(deliveries[i].Body)
	}
	return bodies
}

// idleOverHTTP checks that while a request hangs, no session of the relay is in a transaction.
func (w *world) idleOverHTTP(outbox *pgxpool.Pool, path string) {
	w.t.Helper()
	if _, err := w.hook.Wait(within(w.t), func(s *receiver.Snapshot) bool {
		for i := range s.Deliveries {
			if s.Deliveries[i].Path == path {
				return true
			}
		}
		return false
	}); err != nil {
		w.t.Fatal(err)
	}
	if n := value[int](w.t, outbox, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'iam-relay' AND datname = current_database()
		AND state LIKE 'idle in transaction%' AND state_change < now() - interval '200 ms'`); n > 0 {
		w.t.Errorf("%d sessions of the relay are in a transaction while a request hangs", n)
	}
}

// A delivery that has used up its schedule is kept, dead: never due again, counted, and not forgotten by a restart.
func TestEndpoint_ExhaustedScheduleLeavesADeadDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/fails").set("delivery.schedule", []string{"50ms", "50ms"})
	w.hook.Respond(onPath("/fails", receiver.Response{Status: 503}))
	p := start(t, cfg)
	var a account
	w.createUser(&a, 1)
	w.until("the delivery is dead", `SELECT count(*) = 1 FROM relay.retry WHERE due = 'infinity' AND attempts = 3 AND class = 'http_5xx' AND status = 503`)
	p.metric(`iam_relay_delivery_attempts_total{class="http_5xx"} 3`)
	p.waitFor(within(t), "delivery given up")
	p.stop()
	attempts := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.attempt`))
	if s := w.hook.Snapshot(); s.Requests != 3 || attempts != 3 {
		t.Errorf("%d requests were made and %d attempts recorded, not 3", s.Requests, attempts)
	}
	again := start(t, cfg)
	again.metric(`iam_relay_webhook_dead_deliveries{webhook="fails#1"} 1`)
	w.createUser(&a, 2) // the next event has its own three attempts; the dead one stays as it is
	w.until("the second delivery is dead", `SELECT count(*) = 2 FROM relay.retry WHERE due = 'infinity' AND attempts = 3`)
	if s := w.hook.Snapshot(); s.Requests != 6 {
		t.Errorf("%d requests were made, not 6", s.Requests)
	}
}

// Retry-After is honoured, whatever the schedule says.
func TestEndpoint_RetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/busy").set("delivery.schedule", []string{"10ms", "10ms"})
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Attempt == 1 {
			return receiver.RetryAfter(429, 3*time.Second)
		}
		return receiver.Response{}
	})
	start(t, cfg)
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/busy")
	s := w.hook.Snapshot()
	if len(s.Deliveries) != 2 || s.Deliveries[1].At.Sub(s.Deliveries[0].At) < 3*time.Second {
		t.Errorf("%d attempts, the second one %s after the first", len(s.Deliveries), s.Deliveries[1].At.Sub(s.Deliveries[0].At))
	}
}

// 410 disables a webhook, also over a restart. When its owner changes it, it goes on where it stopped and misses nothing.
func TestEndpoint_GoneDisablesUntilTheOwnerChangesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all").set("delivery.in_flight", 1)
	hook, secret := w.subscribe("/gone", "user.created")
	cfg.secrets = append(cfg.secrets, secret)
	w.hook.Respond(onPath("/gone", receiver.Response{Status: 410}))
	p := start(t, cfg)
	var a, owed account
	gone := w.createUser(&a, 1)
	p.waitFor(within(t), "webhook disabled")
	for i := range 20 {
		user := w.createUser(&a, 2+i)
		owed.add(expect("user.created", user, w.acme.ID))
	}
	a.arrives(t, w.hook, "/all")
	w.until("it is disabled in the outbox", `SELECT NOT enabled AND disabled_reason LIKE '%410%' FROM relay.webhook WHERE origin = 'iam'`)
	p.kill()
	start(t, cfg)
	w.createUserFor(&a, &owed, 30)
	a.arrives(t, w.hook, "/all")
	for _, d := range w.hook.Snapshot().Deliveries {
		if d.Path == "/gone" && d.Resource != gone {
			t.Errorf("%s was sent to a webhook that is gone", d.Event)
		}
	}
	secret = w.change(hook, "/back", secret, "user.created")
	got := owed.arrives(t, w.hook, "/back")
	if strings.Contains(string(got[0].Body), secret) {
		t.Error("the payload has the secret")
	}
}

func (w *world) createUserFor(a, b *account, n int) {
	w.t.Helper()
	b.add(expect("user.created", w.createUser(a, n), w.acme.ID))
}
