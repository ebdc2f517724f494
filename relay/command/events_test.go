package command_test

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	s.start()
	s.user("one")
	if _, err := s.iam.CreateRole(t.Context(), s.acme.ID, "reader", 0); err != nil {
		t.Fatal(err)
	}
	s.user("two")
	s.eventually(`SELECT FROM ` + s.name + `.attempt WHERE class = 'delivered' HAVING count(*) = 3`)

	const (
		header = "event  name  tenant  resource  occurred  webhooks\n"
		one    = "1  user.created  acme  USER-one  TIME  1\n"
		two    = "3  user.created  acme  USER-two  TIME  1\n"
	)
	s.run("events", "--name", "user.*").goes(header + two + one)
	s.run("events", "list", "--resource", s.user1()).goes(header + one)
	s.run("events", "--limit", "1", "--since", "1h", "--tenant", "acme").goes(header + two)
	s.run("events", "--until", "2026-01-01T00:00:00Z").goes("no events\n")
	if r := s.run("events", "--name", "usr.*"); r.out != "no events\n" || r.err != "iam-relay: warning: event pattern \"usr.*\" matches no event of the mapping; correct or remove it\n" {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
	s.run("events", "--name", "role.*", "--json", "--until", "0s").has()
	s.run("events", "--limit", "1", "--json").goes(`{"id":3,"webhook_id":"evt_X","name":"user.created","tenant":"ACME","tenant_name":"acme","resource":"USER-two","occurred":"TIME",` +
		`"lsn":"LSN","webhooks":[1]}` + "\n")

	s.run("events", "show", "1").goes(`event  1
name  user.created
webhook-id  evt_X
tenant  acme (ACME)
resource  USER-one
occurred  TIME
lsn  LSN

webhook  state  attempts  last  due
crm#1  delivered  1  delivered (200)  -
`)
	with := s.run("events", "show", "1", "--body")
	if !strings.Contains(with.out, "\n\n{\n  \"event\": \"user.created\",\n  \"timestamp\": ") || !strings.Contains(with.out, `"email": "one@example.org"`) {
		t.Errorf("it says %s", with.out)
	}
	s.run("events", "show", "1", "--json").goes(`{
  "id": 1,
  "webhook_id": "evt_X",
  "name": "user.created",
  "tenant": "ACME",
  "tenant_name": "acme",
  "resource": "USER-one",
  "occurred": "TIME",
  "lsn": "LSN",
  "webhooks": [
  1
  ],
  "deliveries": [
  {
  "event": 1,
  "webhook_id": "evt_X",
  "name": "user.created",
  "tenant": "ACME",
  "tenant_name": "acme",
  "resource": "USER-one",
  "occurred": "TIME",
  "webhook": 1,
  "webhook_name": "crm",
  "state": "delivered",
  "attempts": 1,
  "due": null,
  "class": "delivered",
  "status": 200
  }
  ]
}
`)
	if r := s.run("events", "show", "1", "--json", "--body"); !strings.Contains(r.out, `"body": {`) {
		t.Errorf("it says %s", r.out)
	}
	s.exec(`UPDATE ` + s.name + `.event SET tenant = NULL, webhooks = '{}' WHERE id = 1`)
	s.exec(`DELETE FROM ` + s.name + `.attempt WHERE event = 1`)
	s.run("events", "show", "1").has("tenant      unknown, so it is not delivered", "no deliveries")
	s.exec(`UPDATE ` + s.name + `.webhook SET name = E'crm\x1b[2J\n'`)
	s.run("deliveries", "--limit", "1").goes("event  name  resource  occurred  webhook  state  attempts  last  due\n" +
		"3  user.created  USER-two  TIME  crm\uFFFD[2J\uFFFD#1  delivered  1  delivered (200)  -\n")
	s.run("replay", "1", "--webhook", "crm").fails(1, "the tenant of event 1 is unknown, so it is delivered to no webhook")
}

// user1 is the id of the user that was made first.
func (s *stage) user1() string {
	s.t.Helper()
	var id string
	if err := s.conn.QueryRow(s.t.Context(), `SELECT resource FROM `+s.name+`.event WHERE id = 1`).Scan(&id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

// following is events tail at work.
type following struct {
	*stage
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func (s *stage) tail(arguments ...string) *following {
	s.t.Helper()
	f := &following{stage: s, cmd: exec.Command(binary, append([]string{"events", "tail", "--config", s.config}, arguments...)...)}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.cmd.Process.Kill() }) // It has ended, if all is well.
	f.lines = bufio.NewScanner(out)
	return f
}

func (f *following) says(want string) {
	f.t.Helper()
	if !f.lines.Scan() {
		f.t.Fatal("it has ended")
	}
	if got := golden(f.plain(f.lines.Text())); got != want {
		f.t.Errorf("it says %q, want %q", got, want)
	}
}

// interrupted wants it to exit with 0.
func (f *following) interrupted() {
	f.t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		f.t.Fatal(err)
	}
	if f.lines.Scan() {
		f.t.Errorf("it says %q, too", f.lines.Text())
	}
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("it ends with %v", err)
	}
}

func TestEvents_Tail(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	s.start()
	s.user("one")
	s.user("two")
	s.eventually(`SELECT FROM ` + s.name + `.position WHERE last_event = 2`)
	last := s.tail("--since", "1", "--json", "--name", "user.*")
	all := s.tail("--since", "1h", "--tenant", s.acme.ID)
	const two = `{"id":2,"webhook_id":"evt_X","name":"user.created","tenant":"ACME","tenant_name":"acme","resource":"USER-two","occurred":"TIME","lsn":"LSN","webhooks":[1]}`
	last.says(two)
	all.says("1  TIME  user.created  tenant acme  resource USER-one")
	all.says("2  TIME  user.created  tenant acme  resource USER-two")
	if _, err := s.iam.CreateRole(t.Context(), s.acme.ID, "reader", 0); err != nil {
		t.Fatal(err)
	}
	s.user("three")
	last.says(strings.NewReplacer(`"id":2`, `"id":4`, "USER-two", "USER-three").Replace(two))
	all.says("3  TIME  role.created  tenant acme  resource " + s.role1())
	all.says("4  TIME  user.created  tenant acme  resource USER-three")
	last.interrupted()
	all.interrupted()
}

func (s *stage) role1() string {
	s.t.Helper()
	var id string
	if err := s.conn.QueryRow(s.t.Context(), `SELECT resource FROM `+s.name+`.event WHERE name = 'role.created'`).Scan(&id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func TestEvents_WrongUsage(t *testing.T) {
	t.Parallel()
	w := &world{t: t, config: "unused.toml"}
	for want, arguments := range map[string][]string{
		"iam-relay events show needs EVENT; see iam-relay events show --help": {"show"},
		"unknown flag --body; see iam-relay events --help":                    {"--body"},
		"unknown flag --limit; see iam-relay events tail --help":              {"tail", "--limit", "5"},
		"--limit must be from 1 to 100000":                                    {"--limit", "-1"},
		`event pattern "a..b" has an empty word; remove the extra dot`:        {"tail", "--name", "a..b"},
		`unknown command "x"; see iam-relay events --help`:                    {"x"},
	} {
		w.run("events", arguments...).fails(2, want)
	}
}
