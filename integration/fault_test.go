package integration_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// trial is a fault that is injected again and again while a load runs. At its end every committed change is accounted for:
// its row in docs/reliability.md is what was counted.
type trial struct {
	*world
	fault     string // as the table names it
	cfg       *config
	load      *load
	outbox    *pgxpool.Pool
	recreated bool   // the slot is created again: it is ahead of the outbox then, until the reconciliation has finished
	watch     func() // ends the look at what is acknowledged
	injected  int
	more      tally // of what the test itself has counted
}

// reportVariable names the document with the table: the faults are then injected at full strength, and their rows written.
const reportVariable = "IAM_RELAY_TEST_REPORT"

// fullVariable asks for more of each fault than an ordinary run has time for.
const fullVariable = "IAM_RELAY_TEST_FULL"

// strength is how much a test does: for the table, in a full run, and in an ordinary one.
func strength[N int | time.Duration](table, full, ordinary N) N {
	switch {
	case os.Getenv(reportVariable) != "":
		return table
	case os.Getenv(fullVariable) != "":
		return full
	}
	return ordinary
}

// inFullRun skips a case that an ordinary run has no time for: another one is much like it.
func inFullRun(t *testing.T) {
	t.Helper()
	if strength(1, 1, 0) == 0 {
		t.Skip("make test-full runs it")
	}
}

// all is the path of the webhook that every change must reach.
const all = "/all"

// try prepares a trial. Its webhook wants the events of a resource in order and is tried again soon, so that what is late
// can be distinguished from what is lost.
func (w *world) try(fault string) *trial {
	w.t.Helper()
	return &trial{
		world: w, fault: fault, outbox: w.db,
		cfg: w.config().webhook(w.hook, all, map[string]any{"ordering": "resource"}).
			set("delivery.schedule", hastily()).set("delivery.pause", "100ms").set("delivery.pause_max", "500ms").set("delivery.timeout", "3s"),
	}
}

// newOwnWorld makes a world on a server of its own: a slot cannot be made on a server while a transaction is open there.
func newOwnWorld(t *testing.T) *world { t.Helper(); return inhabit(t, newServer(t).URL("postgres")) }

// start starts a relay.
func (tr *trial) start() *process { tr.t.Helper(); return start(tr.t, tr.cfg) }

// elsewhere puts the outbox into a database of its own.
func (tr *trial) elsewhere(url string) {
	tr.t.Helper()
	tr.cfg.set("outbox.url", url)
	tr.outbox = connect(tr.t, url)
}

// begin starts the load. The first copy must have been made: what it holds makes no events.
func (tr *trial) begin() { tr.t.Helper(); tr.beginWith((*committer).commit) }

func (tr *trial) beginWith(commit func(*committer)) {
	tr.t.Helper()
	tr.load = tr.world.beginWith(4, strength(20*time.Millisecond, 20*time.Millisecond, 60*time.Millisecond), commit)
	if tr.watch = func() {}; !tr.recreated {
		tr.watch = tr.watchAcknowledged(tr.outbox)
	}
	tr.flows()
}

// flows waits until the load gets through.
func (tr *trial) flows() {
	tr.t.Helper()
	enough := tr.hook.Snapshot().Distinct + 20
	if _, err := tr.hook.Wait(tr.long(), func(s *receiver.Snapshot) bool { return s.Distinct >= enough }); err != nil {
		tr.t.Fatal(err)
	}
}

// long bounds a wait for what may take a minute itself: a source that says nothing is given up after that.
func (tr *trial) long() context.Context {
	ctx, cancel := context.WithTimeout(tr.t.Context(), 2*patience)
	tr.t.Cleanup(cancel)
	return ctx
}

// inject does it so many times, and lets the load get through after each.
func (tr *trial) inject(times int, do func()) {
	tr.t.Helper()
	for range times {
		do()
		tr.injected++
		tr.flows()
	}
}

// lasts is how long a fault lasts that only lasts; nothing can be waited for.
func (tr *trial) lasts(d time.Duration) {
	tr.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-tr.t.Context().Done():
	}
}

// tally is what became of the committed changes.
type tally struct{ committed, lost, surplus, duplicated, disordered, reconciled int }

// end ends the load, waits for what is still to come, stops the relays, counts, and checks the outbox.
func (tr *trial) end(relays ...*process) {
	tr.t.Helper()
	tr.load.end()
	got := tr.load.arrives(tr.t, tr.hook, all)
	eventually(tr.t, "nothing more is to come", func() (done bool, err error) {
		err = tr.outbox.QueryRow(tr.t.Context(), tr.inOutbox(`SELECT delivered = last_event AND (SELECT count(*) = 0 FROM relay.retry)
			AND (SELECT count(*) = 0 FROM relay.webhook WHERE cursor IS NOT NULL) FROM relay.watermark, relay.position`)).Scan(&done)
		return done, err
	})
	tr.watch()
	for _, p := range relays {
		p.stop()
	}
	tr.sameAsStored(tr.outbox, got)
	tr.auditIn(tr.outbox)
	tr.record(tr.count())
}

// count counts what has arrived against what was committed.
func (tr *trial) count() tally {
	tr.t.Helper()
	s := tr.hook.Snapshot()
	n := tr.more
	n.committed += tr.load.len()
	missing := map[string]int{}
	for _, e := range tr.load.expected {
		missing[e.Event+e.Resource+e.Realm]++
	}
	place, last := tr.positions(), map[string]int64{}
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		switch {
		case d.Path != all || d.Status/100 != 2:
			continue
		case d.Duplicate:
			n.duplicated++
			continue
		}
		key := d.Event + d.Resource + d.Tenant
		if missing[key]--; missing[key] < 0 {
			n.surplus++
		}
		if d.Header.Get(reconciledHeader) != "" {
			n.reconciled++
		}
		if place[d.ID] < last[d.Resource] {
			n.disordered++
		}
		last[d.Resource] = place[d.ID]
	}
	for _, left := range missing {
		n.lost += max(left, 0)
	}
	return n
}

// reconciledHeader marks what was found by comparing the mirror with the tables.
const reconciledHeader = "x-iam-relay-reconciled"

// positions are the events' positions in the event log, by webhook-id.
func (tr *trial) positions() map[string]int64 {
	tr.t.Helper()
	rows, err := tr.outbox.Query(tr.t.Context(), tr.inOutbox(`SELECT webhook_id, id FROM relay.event`))
	if err != nil {
		tr.t.Fatal(err)
	}
	place := map[string]int64{}
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			tr.t.Fatal(err)
		}
		place[id] = n
	}
	if err := rows.Err(); err != nil {
		tr.t.Fatal(err)
	}
	return place
}

// reaches waits until an event of a resource has been accepted.
func (tr *trial) reaches(event, resource string) {
	tr.t.Helper()
	if _, err := tr.hook.Wait(tr.long(), func(s *receiver.Snapshot) bool {
		return slices.ContainsFunc(s.Deliveries, func(d receiver.Delivery) bool {
			return d.Resource == resource && d.Event == event && d.Status/100 == 2
		})
	}); err != nil {
		tr.t.Fatal(err)
	}
}
