package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

func TestStatus_WithoutAnOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("status").fails(1, "database NAME has no outbox in schema NAME that role postgres can read; create it with iam-relay run or iam-relay setup, and see iam-relay check")
	w.run("setup")
	w.run("status").done("state   stopped\nphase   nothing read yet\nrelay   none is running\nslot    NAME does not exist\nevents  none\n")
}

var moments = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9A-F]+/[0-9A-F]+\b`)

func TestStatus_OfARunningRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, _ *http.Request) { res.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(receiver.Close)
	w.configure(w.url, "[delivery]", "allow_http = true", `allow_networks = ["127.0.0.1/32"]`, `schedule = ["1h"]`,
		"[[webhook]]", `name = "crm"`, `url = "`+receiver.URL+`"`, "unsigned = true", `events = ["realm.created"]`)
	relay := w.start()
	if _, err := ferriskey.New(w.conn).Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually(`SELECT FROM ` + w.name + `.retry WHERE due < 'infinity'`)
	w.eventually(`SELECT FROM ` + w.name + `.watermark, ` + w.name + `.position WHERE delivered = last_event AND last_event > 2`)
	r := w.run("status")
	r.has("relay     one leads (session PID of the outbox's server)", "webhook  origin  tenant  state  behind  retrying  dead",
		"crm      config  *       live   0       1         0", "slot      NAME, in use, reserved; lag SIZE, SIZE of WAL retained")
	relay.stop()
	r = w.run("status", "--json")
	var got struct {
		Phase     string
		Position  string
		LeaderPID int `json:"leader_pid"`
		Slot      struct {
			Exists, Active bool
			LagBytes       int64 `json:"lag_bytes"`
		}
		DeliveredThrough int64              `json:"delivered_through"`
		LastEvent        struct{ ID int64 } `json:"last_event"`
		Webhooks         []struct {
			Name, State    string
			Retrying, Dead int
		}
	}
	if err := json.Unmarshal([]byte(run(t, "status", "--config", w.config, "--json").out), &got); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	if got.Phase != "streaming" || !moments.MatchString(got.Position) || got.LeaderPID != 0 || !got.Slot.Exists || got.Slot.Active || got.Slot.LagBytes < 0 ||
		got.LastEvent.ID < 3 || got.LastEvent.ID != got.DeliveredThrough {
		t.Errorf("it says %s", r.out)
	}
	if diff := cmp.Diff("[{crm live 1 0}]", fmt.Sprint(got.Webhooks)); diff != "" {
		t.Error(diff)
	}
	// The outbox is reported while the source is away.
	w.write("postgres://127.0.0.1:1/iam", w.url, "", "[delivery]", "allow_http = true", `allow_networks = ["127.0.0.1/32"]`)
	r = w.run("status")
	r.has("phase     streaming from database NAME", "crm      config  *       live   0       1         0")
	r.fails(1, "connect to the source: nothing is listening on 127.0.0.1:1; check host and port in the URL, and that the server is running")
}

func TestStatus_Ready(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	w.replaces = append(w.replaces, address, "ADMIN")
	w.listen(address)
	w.run("status", "--ready").fails(1, "no relay listens on ADMIN (admin.listen); start it with iam-relay run")
	w.start()
	// It is ready after the first message of the server.
	for w.run("status", "--ready").err == "iam-relay: the relay is not ready: replication: connecting; no message from the server yet\n" {
	}
	w.run("status", "--ready").done("ready\n")

	sick := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, _ *http.Request) {
		res.WriteHeader(http.StatusServiceUnavailable)
		_, _ = res.Write([]byte(`{"ready":false,"checks":[{"name":"outbox","ok":true},{"name":"replication","ok":false,"detail":"not streaming yet"}]}`))
	}))
	t.Cleanup(sick.Close)
	w.listen(sick.Listener.Addr().String())
	w.run("status", "--ready").fails(1, "the relay is not ready: replication: not streaming yet")
	w.listen("127.0.0.1:0")
	w.run("status", "--ready").fails(2, "admin.listen: must have an address with a fixed port for the relay to be asked")
}

// An idle source is distinguished from a stuck outbox: here a session has a lock on the position.
func TestStatus_State(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	read := func() (s struct{ State, Why string }) {
		if err := json.Unmarshal([]byte(run(t, "status", "--config", w.config, "--json").out), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	until := func(want string) string {
		t.Helper()
		var last string
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			s := read()
			if s.State == want {
				return s.Why
			}
			last = fmt.Sprint(s)
		}
		t.Fatalf("the state does not become %s, but %s", want, last)
		return ""
	}
	relay := w.start()
	until("idle")
	tx, err := w.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM `+w.name+`.position FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	other := w.connect()
	if _, err := other.Exec(t.Context(), `INSERT INTO realms (id, name) VALUES (gen_random_uuid(), 'acme')`); err != nil {
		t.Fatal(err)
	}
	relay.waitFor("the outbox is stuck")
	if why, want := until("stuck"), fmt.Sprintf("for a lock of session %d (user postgres", w.conn.PgConn().PID()); !strings.Contains(why, want) {
		t.Errorf("it says %q, not %q", why, want)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("streaming")
	relay.waitFor("the outbox is no longer stuck")
	relay.stop()
	until("stopped")
	w.dropSlot()
	until("lost")
}

// Slot, position and the end of the WAL advance between the queries of status. That is not a lost slot.
func TestStatus_OfABusyRelayIsNeverLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan error, 1)
	conn := w.connect()
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			_, err = conn.Exec(t.Context(), `INSERT INTO realms (id, name) VALUES (gen_random_uuid(), gen_random_uuid()::text)`)
		}
		written <- err
	}()
	for range 50 {
		if r := w.run("status"); r.code != 0 || strings.Contains(r.out, "lost") {
			t.Errorf("exit code %d, %s\n%s", r.code, r.err, r.out)
			break
		}
	}
	stop()
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A catalog that cannot be read, as on a hardened server or during a migration, is no reason to hide the slot and the position.
func TestStatus_SourceThatCannotBeInspected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("setup")
	role := w.role("REPLICATION")
	w.write(w.as(role, password), w.url, "")
	w.exec("REVOKE SELECT ON pg_catalog.pg_publication_rel FROM PUBLIC")
	r := w.run("status")
	r.has("slot    NAME does not exist",
		"source  its tables and publications cannot be inspected: check the publications: ERROR: permission denied for table pg_publication_rel (SQLSTATE 42501); see iam-relay check")
	if r.code != 0 {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
}
