package command_test

import (
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestDeliveries(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h", "2h"]`)
	relay := s.start()
	s.user("one")
	s.eventually(`SELECT FROM ` + s.name + `.attempt WHERE event = 1 AND class = 'delivered'`)
	s.fails.Store(true)
	s.user("two")
	s.user("three")
	s.eventually(`SELECT FROM ` + s.name + `.retry HAVING count(*) = 2`)
	s.exec(`UPDATE ` + s.name + `.retry SET due = 'infinity' WHERE event = 3`)
	s.exec(`UPDATE ` + s.name + `.attempt SET dns = 11, connect = 22, first_byte = 44, error = 'the receiver responded with status 503' WHERE event = 2`)
	relay.stop()
	s.user("four") // no relay reads it

	const (
		header = "event  name  resource  occurred  webhook  state  attempts  last  due\n"
		one    = "1  user.created  USER-one  TIME  crm#1  delivered  1  delivered (200)  -\n"
		two    = "2  user.created  USER-two  TIME  crm#1  retrying  1  http_5xx (503)  TIME\n"
		three  = "3  user.created  USER-three  TIME  crm#1  dead  1  http_5xx (503)  -\n"
	)
	s.run("deliveries").goes(header + three + two + one)
	s.run("deliveries", "list", "--limit", "1", "--state", "delivered").goes(header + one)
	s.run("deliveries", "--webhook", "crm", "--state", "retrying", "--since", "1h").goes(header + two)
	s.run("deliveries", "--webhook", "1", "--state", "dead", "--event", "user.*").goes(header + three)
	s.run("deliveries", "--event", "2").goes(header + two)
	s.run("deliveries", "--event", "user.created", "--limit", "2", "--tenant", s.acme.ID).goes(header + three + two)
	s.run("deliveries", "--until", "1h").goes("no deliveries\n")
	s.run("deliveries", "--state", "pending").goes("no deliveries\n")
	s.run("deliveries", "--state", "dead", "--json").goes(`{"event":3,"webhook_id":"evt_X","name":"user.created","tenant":"ACME","tenant_name":"acme","resource":"USER-three",` +
		`"occurred":"TIME","webhook":1,"webhook_name":"crm","state":"dead","attempts":1,"due":null,"class":"http_5xx","status":503}` + "\n")

	s.run("deliveries", "show", "2", "--json").goes(`[
  {
  "event": 2,
  "webhook_id": "evt_X",
  "name": "user.created",
  "tenant": "ACME",
  "tenant_name": "acme",
  "resource": "USER-two",
  "occurred": "TIME",
  "webhook": 1,
  "webhook_name": "crm",
  "state": "retrying",
  "attempts": 1,
  "due": "TIME",
  "class": "http_5xx",
  "status": 503,
  "attempts_left": 2,
  "url": "http://RECEIVER",
  "history": [
  {
  "number": 1,
  "at": "TIME",
  "micros": 0,
  "dns_micros": 0,
  "connect_micros": 0,
  "first_byte_micros": 0,
  "class": "http_5xx",
  "status": 503,
  "error": "the receiver responded with status 503",
  "response": "not now"
  }
  ]
  }
]
`)
	s.exec(`UPDATE ` + s.name + `.attempt SET micros = 1234 WHERE event = 2`)
	s.run("deliveries", "show", "2", "--webhook", "crm").goes(`event 2, user.created, evt_X, of TIME

crm#1  http://RECEIVER: retrying, due TIME, 2 attempts left
  1  TIME  http_5xx (503)  1.234ms, dns 11µs, connect 22µs, first byte 44µs  the receiver responded with status 503
  response: "not now"
`)

	// Manually: one, all dead ones, and one that is no longer wanted.
	version := `SELECT FROM ` + s.name + `.webhook WHERE version = $1`
	s.run("deliveries", "--class", "http_5xx", "--event", "user.*").goes(header + three + two)
	s.run("deliveries", "--class", "timeout", "--state", "dead").goes("no deliveries\n")
	s.run("deliveries", "retry", "2", "--webhook", "crm", "--dry-run").goes("1 delivery would be due now\n")
	s.run("deliveries", "skip", "2", "--webhook", "crm", "--dry-run").goes("would skip event 2 for webhook crm\n")
	s.run("deliveries", "skip", "1", "--webhook", "crm", "--dry-run").fails(1, "event 1 is not being retried for webhook crm: it is delivered; send it again with iam-relay replay 1 --webhook 1")
	if !s.exists(`SELECT FROM ` + s.name + `.retry WHERE event = 2 AND due > now()`) {
		t.Error("a dry run changes something")
	}
	s.run("deliveries", "retry", "2", "--webhook", "crm").goes("1 delivery is due now\n")
	if !s.exists(`SELECT FROM `+s.name+`.retry WHERE event = 2 AND due <= now() AND attempts = 0`) || !s.exists(version, 1) {
		t.Error("it is not due, or the relays were not notified")
	}
	s.run("deliveries", "retry", "--all-dead", "--class", "timeout").goes("0 deliveries are due now\n")
	s.run("deliveries", "retry", "--all-dead", "--webhook", "crm", "--class", "http_5xx", "--json").goes(`{"dry_run":false,"due":1}` + "\n")
	s.run("deliveries", "skip", "3", "--webhook", "crm").goes("skipped event 3 for webhook crm\n")
	if !s.exists(version, 3) {
		t.Error("the relays were not notified")
	}
	s.run("deliveries", "--state", "skipped").goes(header + "3  user.created  USER-three  TIME  crm#1  skipped  1  canceled  -\n")
	s.run("deliveries", "skip", "3", "--webhook", "crm").fails(1, "event 3 is not being retried for webhook crm: it is skipped; send it again with iam-relay replay 3 --webhook 1")
	s.run("deliveries", "retry", "1", "--webhook", "crm").fails(1, "event 1 is not being retried for webhook crm: it is delivered; send it again with iam-relay replay 1 --webhook 1")
	s.run("replay", "2", "--webhook", "crm").fails(1, "event 2 is already being retried for crm; retry it now with iam-relay deliveries retry 2 --webhook 1")
	s.run("deliveries", "show", "9").fails(1, "there is no event 9, or it is past retention")

	s.fails.Store(false)
	s.start()
	s.eventually(`SELECT FROM ` + s.name + `.retry HAVING count(*) = 0`)
	s.run("deliveries", "--event", "2").goes(header + "2  user.created  USER-two  TIME  crm#1  delivered  1  delivered (200)  -\n")
}

// An event not read yet is pending; one that will not be sent any more was dropped.
func TestDeliveries_PendingAndDropped(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	relay := s.start()
	s.user("one")
	s.user("two")
	s.eventually(`SELECT FROM ` + s.name + `.attempt WHERE class = 'delivered' HAVING count(*) = 2`)
	relay.stop()
	s.exec(`DELETE FROM ` + s.name + `.attempt`)
	s.exec(`UPDATE ` + s.name + `.webhook SET cursor = 1`)
	s.run("deliveries").goes(`event  name  resource  occurred  webhook  state  attempts  last  due
2  user.created  USER-two  TIME  crm#1  pending  0  -  -
1  user.created  USER-one  TIME  crm#1  dropped  0  -  -
`)
	s.run("deliveries", "retry", "2", "--webhook", "crm").fails(1, "event 2 is pending: it has not been attempted for webhook crm yet; see the state of the webhook with iam-relay webhooks show 1")
	s.run("replay", "2", "--webhook", "crm").fails(1, "event 2 is pending: it has not been attempted for crm yet; see the state of the webhook with iam-relay webhooks show 1")
	s.run("deliveries", "show", "2").has("crm#1  http://RECEIVER: pending, 2 attempts left")
	s.exec(`UPDATE ` + s.name + `.event SET webhooks = '{}'`)
	s.run("deliveries", "retry", "2", "--webhook", "crm").fails(1, "event 2 was not for webhook crm; iam-relay replay sends it nevertheless if the webhook is of the event's tenant")
}

func TestDeliveries_WrongUsage(t *testing.T) {
	t.Parallel()
	w := &world{t: t, config: "unused.toml"}
	var names []string
	for _, c := range webhook.Classes() {
		names = append(names, string(c))
	}
	classes := strings.Join(names, ", ")
	for want, arguments := range map[string][]string{
		"--state must be one of pending, retrying, dead, delivered, skipped, dropped":       {"--state", "lost"},
		`event pattern "us*": a star stands for whole words; write "user.*" or "*.deleted"`: {"--event", "us*"},
		"iam-relay deliveries show needs EVENT; see iam-relay deliveries show --help":       {"show"},
		`"one" is not an event; give its number or its webhook-id, evt_…`:                   {"show", "one"},
		`unexpected argument "3"; see iam-relay deliveries show --help`:                     {"show", "2", "3"},
		`unknown command "rety"; did you mean "deliveries retry"?`:                          {"rety", "3"},
		"nothing to retry: give an EVENT with --webhook, or --all-dead":                     {"retry"},
		"give either one EVENT or --all-dead":                                               {"retry", "3", "--all-dead"},
		"no webhook given: name it with --webhook":                                          {"retry", "3"},
		`--class: "lost" is not a class of outcomes; it is one of ` + classes:               {"retry", "--all-dead", "--class", "lost"},
		"iam-relay deliveries skip needs EVENT; see iam-relay deliveries skip --help":       {"skip"},
		"unknown flag --all-dead; see iam-relay deliveries --help":                          {"--all-dead"},
	} {
		w.run("deliveries", arguments...).fails(2, want)
	}
	if r := run(t, "deliveries", "--help"); r.code != 0 || !strings.Contains(r.out, "--state STATE") || !strings.Contains(r.out, "2026-08-20T13:54:00Z") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
}
