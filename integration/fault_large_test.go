package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// A transaction of a million rows comes whole and does not take the memory of the relay. Its events go to a receiver that only
// counts, and remembers ids: each comes once, and has its user.
func TestFault_LargeTransaction(t *testing.T) {
	t.Parallel()
	tr := newOwnWorld(t).try("source: a transaction of 1,000,000 rows")
	counting, err := receiver.Start(receiver.Options{Counting: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s := counting.Snapshot(); s.Faulty > 0 {
			t.Errorf("%d requests are not what they must be, the first one: %s", s.Faulty, s.FirstProblem)
		}
		if err := counting.Close(); err != nil {
			t.Error(err)
		}
	})
	globex, err := tr.iam.CreateRealm(t.Context(), "globex", "Globex")
	if err != nil {
		t.Fatal(err)
	}
	tr.cfg.values["webhook"].([]map[string]any)[0]["tenant"] = tr.acme.ID
	tr.cfg.webhook(counting, "/large", map[string]any{"tenant": globex.ID})
	p := tr.start()
	tr.begin()
	rows := strength(1_000_000, 10_000, 5_000)
	tr.inject(1, func() {
		tr.exec(insertMany, globex.ID, "large-", rows)
		ctx, cancel := context.WithTimeout(t.Context(), strength(20*time.Minute, 2*patience, patience))
		defer cancel()
		if _, err := counting.Wait(ctx, func(s *receiver.Snapshot) bool { return s.Distinct == rows }); err != nil {
			t.Error(err)
		}
	})
	if n := value[int](t, tr.outbox, tr.inOutbox(`SELECT count(*) FROM (SELECT resource FROM relay.event WHERE name = 'user.created'
		INTERSECT SELECT id::text FROM users WHERE realm_id = $1) AS users`), globex.ID); n != rows {
		t.Errorf("the outbox has events of %d users, not of %d", n, rows)
	}
	tr.more = tally{committed: rows, duplicated: counting.Snapshot().Duplicates, lost: rows - counting.Snapshot().Distinct}
	p.fits(largest)
	tr.end(p)
}
