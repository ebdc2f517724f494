package command_test

import (
	"regexp"
	"strings"
	"testing"
)

var dates = regexp.MustCompile(`\d{4}-\d\d-\d\d  `)

func TestErase(t *testing.T) {
	t.Parallel()
	s := newStage(t, `["1h"]`)
	s.start()
	s.fails.Store(true)
	id := s.user("one")
	s.user("two")
	s.eventually(`SELECT FROM ` + s.name + `.retry HAVING count(*) = 2`)
	r := s.run("erase", "--resource", id)
	r.out = dates.ReplaceAllString(r.out, "DAY  ")
	r.prints("would erase the data of 1 event\n  DAY  1\n")
	r.fails(2, "nothing was erased; confirm with --yes")
	if r := s.run("events", "show", "1", "--body"); !strings.Contains(r.out, "one@example.org") {
		t.Errorf("it says %s", r.out)
	}
	s.run("erase", "--resource", id, "--yes", "--tenant", "another").goes("erased the data of 0 events\n")
	r = s.run("erase", "--resource", id, "--yes", "--tenant", s.acme.ID)
	r.out = dates.ReplaceAllString(r.out, "DAY  ")
	r.done("erased the data of 1 event\n  DAY  1\n")
	if r := s.run("events", "show", "1", "--body"); !strings.HasSuffix(r.out, "\n  \"data\": null\n}\n") {
		t.Errorf("it says %s", r.out)
	}
	if r := s.run("events", "show", "2", "--body"); !strings.Contains(r.out, "two@example.org") {
		t.Errorf("it says %s", r.out)
	}
	if r := s.run("deliveries", "show", "1"); strings.Contains(r.out, "not now") {
		t.Errorf("it says %s", r.out)
	}
	run(t, "erase").fails(2, "no resource given: name it with --resource")
	run(t, "erase", "--resource", "x", "y").fails(2, `unexpected argument "y"; see iam-relay erase --help`)
}
