package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The outbox is readable, but accepts no attempts for a long time. What was sent meanwhile is sent again by each membership that tries; that
// is bounded, and all is recorded in the end. It takes a second to refuse, in which everything could be sent.
func TestUnrecorded_AttemptsAreBounded(t *testing.T) {
	t.Parallel()
	const events, rounds, perRound = 400, 6, 8
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all"))
	var a account
	w.createUser(&a, 0)
	a.arrives(t, w.hook, "/all")
	w.until("the first attempt is recorded", `SELECT count(*) > 0 FROM relay.attempt`)
	w.exec(w.inOutbox(`CREATE FUNCTION relay.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RAISE 'no room' USING ERRCODE = '53100'; END $$`))
	w.exec(w.inOutbox(`CREATE TRIGGER refuse BEFORE INSERT ON relay.attempt FOR EACH ROW EXECUTE FUNCTION relay.refuse()`))
	w.createUsers(&a, 100, events)
	memberships := func() int {
		printed, _ := p.log.read()
		return strings.Count(printed, "outbox failed; retrying")
	}
	eventually(t, fmt.Sprintf("%d memberships have failed", rounds), func() (bool, error) { return memberships() >= rounds, nil })
	failed := memberships()
	s := w.hook.Snapshot()
	// In each round, an attempt may end, and the next begin, before the first is counted.
	if sent, limit := s.Requests, events+1+(failed+1)*(2*perRound); sent > limit {
		t.Errorf("%d requests were made for %d events in %d memberships, want at most %d", sent, events+1, failed, limit)
	} else {
		t.Logf("%d requests in %d memberships", sent, failed)
	}
	w.exec(w.inOutbox(`DROP TRIGGER refuse ON relay.attempt`))
	began := time.Now()
	w.until("all attempts are recorded", fmt.Sprintf(`SELECT count(DISTINCT event) = %d FROM relay.attempt`, events+1))
	t.Logf("all recorded after %s", time.Since(began))
	p.stop()
	w.audit()
}
