package command_test

import (
	"encoding/json"
	"strconv"
	"testing"
)

// A webhook added by command has an id beyond 32 bits. Every command that takes a webhook takes it too.
func TestWebhooks_AddedOnesAreManagedLikeOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	s.run("setup")
	s.webhooks("add", "--name", "own", "--url", s.receiver.URL, "--tenant", s.acme.ID, "--event", "user.created")
	var own struct{ ID int64 }
	if err := json.Unmarshal([]byte(s.webhooks("show", "own", "--json").out), &own); err != nil || own.ID <= 1<<31 {
		t.Fatalf("webhook %+v, %v", own, err)
	}
	number := strconv.FormatInt(own.ID, 10)
	s.replaces = append(s.replaces, number, "OWN")
	relay := s.start()
	s.user("one")
	s.eventually(`SELECT FROM `+s.name+`.attempt WHERE webhook = $1 AND class = 'delivered'`, own.ID)
	s.fails.Store(true)
	s.user("two")
	s.user("three")
	s.eventually(`SELECT FROM `+s.name+`.retry WHERE webhook = $1 HAVING count(*) = 2`, own.ID)
	s.exec(`UPDATE `+s.name+`.retry SET due = 'infinity' WHERE webhook = $1 AND event = 3`, own.ID)
	relay.stop()

	const (
		header = "event  name  resource  occurred  webhook  state  attempts  last  due\n"
		one    = "1  user.created  USER-one  TIME  own#OWN  delivered  1  delivered (200)  -\n"
		two    = "2  user.created  USER-two  TIME  own#OWN  retrying  1  http_5xx (503)  TIME\n"
		three  = "3  user.created  USER-three  TIME  own#OWN  dead  1  http_5xx (503)  -\n"
	)
	for _, which := range []string{"own", number} {
		s.run("deliveries", "--webhook", which).goes(header + three + two + one)
		s.run("deliveries", "--webhook", which, "--state", "retrying").goes(header + two)
		s.run("deliveries", "--webhook", which, "--state", "dead").goes(header + three)
		s.run("deliveries", "--webhook", which, "--event", "1").goes(header + one)
	}
	if r := s.run("deliveries", "show", "2", "--webhook", "own"); r.code != 0 {
		t.Errorf("show: exit code %d, %s", r.code, r.err)
	}
	s.run("deliveries", "retry", "2", "--webhook", "own").goes("1 delivery is due now\n")
	s.run("deliveries", "retry", "--all-dead", "--webhook", number).goes("1 delivery is due now\n")
	s.run("deliveries", "skip", "3", "--webhook", "own").goes("skipped event 3 for webhook own\n")
	s.run("replay", "--dry-run", "--webhook", "own", "--name", "user.created").goes("2 events would be delivered to own (http://RECEIVER)\n")
	if r := s.run("replay", "1", "--webhook", number); r.code != 0 {
		t.Errorf("replay: exit code %d, %s", r.code, r.err)
	}
	if r := s.run("replay", "list"); r.code != 0 {
		t.Errorf("replay list: exit code %d, %s", r.code, r.err)
	}
}
