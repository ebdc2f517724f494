package command_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// stage is a relay with a realm, and a receiver that can be made to fail.
type stage struct {
	*world
	iam      *ferriskey.IAM
	acme     ferriskey.Realm
	fails    atomic.Bool
	requests atomic.Int64
	receiver *httptest.Server
}

// crm is the configured webhook, of all tenants; schedule is when failed deliveries are tried again.
func newStage(t *testing.T, schedule string, more ...string) *stage {
	t.Helper()
	s := &stage{world: newWorld(t)}
	s.receiver = httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, _ *http.Request) {
		s.requests.Add(1)
		if s.fails.Load() {
			res.WriteHeader(http.StatusServiceUnavailable)
			_, _ = res.Write([]byte("not now"))
		}
	}))
	t.Cleanup(s.receiver.Close)
	s.replaces = append([]string{strings.TrimPrefix(s.receiver.URL, "http://"), "RECEIVER"}, s.replaces...)
	s.configure(s.url, append([]string{
		"[delivery]", "allow_http = true", `allow_networks = ["127.0.0.1/32"]`, "schedule = " + schedule,
		"[[webhook]]", `name = "crm"`, `url = "` + s.receiver.URL + `/hook?token=` + password + `"`, "unsigned = true", `events = ["user.*", "role.*"]`,
		`headers = { x-token = "` + password + `" }`,
	}, more...)...)
	s.iam = ferriskey.New(s.conn)
	if _, err := s.iam.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.acme, err = s.iam.CreateRealm(t.Context(), "acme", "Acme"); err != nil {
		t.Fatal(err)
	}
	s.replaces = append(s.replaces, s.acme.ID, "ACME")
	return s
}

// user makes a user in the realm acme.
func (s *stage) user(name string) string {
	s.t.Helper()
	id, err := s.iam.CreateUser(s.t.Context(), s.acme.ID, ferriskey.User{Username: name, Email: name + "@example.org", Enabled: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.replaces = append(s.replaces, id, "USER-"+name)
	return id
}

var (
	eventIDs  = regexp.MustCompile(`evt_[0-9a-z]{32}`)
	positions = regexp.MustCompile(`\b[0-9A-F]+/[0-9A-F]+\b`)
	durations = regexp.MustCompile(`(micros": ?)\d+`)
	times     = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
	spaces    = regexp.MustCompile(`  +`)
)

// golden replaces what differs from run to run, also in width.
func golden(text string) string {
	text = eventIDs.ReplaceAllString(text, "evt_X")
	text = times.ReplaceAllString(text, "TIME")
	text = positions.ReplaceAllString(text, "LSN")
	text = durations.ReplaceAllString(text, "${1}0")
	return spaces.ReplaceAllString(text, "  ")
}

// goes wants the command to succeed and to print that, but for what golden replaces.
func (r result) goes(want string) {
	r.t.Helper()
	if r.code != 0 || r.err != "" {
		r.t.Errorf("exit code %d, stderr %q; want success", r.code, r.err)
	}
	if diff := cmp.Diff(want, golden(r.out)); diff != "" {
		r.t.Errorf("stdout (-want +got):\n%s", diff)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	relay := s.start()
	s.user("one")
	s.user("two")
	if _, err := s.iam.CreateRealm(t.Context(), "other", "Other"); err != nil {
		t.Fatal(err)
	}
	s.eventually(`SELECT FROM ` + s.name + `.attempt WHERE event = 2 AND class = 'delivered'`)
	s.run("replay", "list").goes("no replays\n")

	const reported = `done: examined events up to 2 of 2; 1 queued, 1 delivered, 0 waiting, 0 dead, 0 skipped` + "\n"
	before := s.requests.Load()
	r := s.run("replay", "2", "--webhook", "crm", "--wait")
	if r.code != 0 || !strings.HasPrefix(r.out, "replay 1 to crm (http://RECEIVER) started; a running relay does the work\n") || !strings.HasSuffix(r.out, reported) {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
	if n := s.requests.Load() - before; n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	s.run("replay", "show", "1").goes(reported)
	s.run("replay", "--dry-run", "--webhook", "1", "--name", "*.created", "--tenant", s.acme.ID).
		goes("2 events would be delivered to crm (http://RECEIVER)\n")
	s.run("replay", "--dry-run", "--json", "--webhook", "crm", "--missed", "--since", "1h").goes(`{"events":0}` + "\n")
	// Everything that it has missed, from before it was asked for.
	before = s.requests.Load()
	s.run("replay", "--missed", "--name", "realm.*", "--webhook", "crm", "--rate", "7", "--wait", "--json")
	if n := s.requests.Load() - before; n == 0 {
		t.Error("nothing was sent")
	}
	last := s.run("replay", "list", "--json", "--limit", "1")
	var got map[string]any
	if err := json.Unmarshal([]byte(last.out), &got); err != nil {
		t.Fatal(err)
	}
	if got["delivered"] == 0.0 || got["delivered"] != got["queued"] {
		t.Errorf("it says %s", last.out)
	}
	got["cursor"], got["through"], got["queued"], got["delivered"] = 0, 0, 0, 0
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"created":"TIME","cursor":0,"dead":0,"delivered":0,"events":["realm.*"],"id":2,"missed":true,"queued":0,"rate":7,`+
		`"skipped":0,"state":"done","through":0,"updated":"TIME","waiting":0,"webhook":1}`, golden(string(text))); diff != "" {
		t.Error(diff)
	}
	s.run("replay", "--dry-run", "--webhook", "crm", "--missed", "--name", "realm.*").goes("0 events would be delivered to crm (http://RECEIVER)\n")

	relay.stop()
	s.run("replay", "--webhook", "crm", "--missed", "--until", "1h").fails(1, "the outbox has no event of that time; iam-relay events lists those that it has")
	s.run("replay", "--webhook", "crm", "--name", "user.*").goes("replay 3 to crm (http://RECEIVER) started; a running relay does the work\n")
	s.run("replay", "cancel", "3").goes("canceled: examined events up to 0 of 10; 0 queued, 0 delivered, 0 waiting, 0 dead, 0 skipped\n")
	s.run("replay", "cancel", "3").fails(1, "replay 3 is not running: it is canceled")
	s.run("replay", "show", "3", "--wait").fails(1, "replay 3 was canceled, or its webhook removed")
	s.run("replay", "show", "9").fails(1, "there is no replay 9; iam-relay replay list lists them")
	s.run("replay", "1", "--webhook", "nobody").fails(1, `there is no webhook "nobody"; iam-relay webhooks lists them`)
	s.run("replay", "99", "--webhook", "crm").fails(1, "there is no event 99, or it is past retention")
	s.exec(`UPDATE ` + s.name + `.webhook SET tenant = 'acme'`)
	r = s.run("replay", "--webhook", "crm", "--dry-run", "--name", "*")
	const hint = "iam-relay: warning: webhook crm names its tenant \"acme\" by name, and events have the tenant's key: only events that it was subscribed to are replayed, while the tenant has that name\n"
	if r.out != "2 events would be delivered to crm (http://RECEIVER)\n" || r.err != hint {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
	s.exec(`UPDATE ` + s.name + `.webhook SET tenant = '0198c0de-0000-7000-8000-000000000011'`)
	s.run("replay", "2", "--webhook", "crm").fails(1, "event 2 belongs to tenant ACME and webhook crm to tenant 0198c0de-0000-7000-8000-000000000011, so it is not replayed")
}

func TestReplay_WrongUsage(t *testing.T) {
	t.Parallel()
	for want, arguments := range map[string][]string{
		"no webhook given: name it with --webhook": {"5"},
		"nothing to replay: give an EVENT, a filter (--name, --tenant, --resource, --since, --until), or --missed": {"--webhook", "crm"},
		"give either one EVENT or a filter":                                                            {"5", "--webhook", "crm", "--missed"},
		"--rate must be from 1 to 1000 events per second":                                              {"5", "--webhook", "crm", "--rate", "0"},
		"--dry-run starts nothing that --wait could follow":                                            {"5", "--webhook", "crm", "--dry-run", "--wait"},
		`"x" is not an event; give its number or its webhook-id, evt_…`:                                {"x", "--webhook", "crm"},
		`event pattern "user*": a star stands for whole words; write "user.*" or "*.deleted"`:          {"--name", "user*", "--webhook", "crm"},
		"--since must be before --until":                                                               {"--since", "1h", "--until", "2h", "--webhook", "crm"},
		`"x" is not the number of a replay; iam-relay replay list shows them`:                          {"show", "x"},
		"iam-relay replay show needs ID; see iam-relay replay show --help":                             {"show"},
		"unknown flag --rate; see iam-relay replay list --help":                                        {"list", "--rate", "5"},
		`unexpected argument "7"; see iam-relay replay list --help`:                                    {"list", "7"},
		"--limit must be from 1 to 100000":                                                             {"list", "--limit", "0"},
		"--since and --until: write a time such as 2026-08-20T13:54:00Z, or an age such as 24h or 90m": {"--since", "5", "--webhook", "crm"},
	} {
		w := &world{t: t, config: "unused.toml"}
		w.run("replay", arguments...).fails(2, want)
	}
	r := run(t, "replay", "--since", "yesterday")
	if r.code != 2 || !strings.HasSuffix(r.err, `--since: write a time such as 2026-08-20T13:54:00Z, or an age such as 24h or 90m`+"\n") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	if r := run(t, "replay", "show", "--help"); r.code != 0 || !strings.Contains(r.out, "iam-relay replay show ID [flags]") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
}
