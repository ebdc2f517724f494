package integration_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// However many rows there are, a comparison holds a page of them, and finds what differs among them.
func TestReconcile_ManyRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), strength(20*time.Minute, 2*patience, patience))
	defer cancel()
	rows := strength(1_000_000, 20_000, 2_000)
	w.exec(insertMany, w.acme.ID, "many", rows)
	cfg := w.config()
	p := launch(t, cfg)
	p.waitFor(ctx, "streaming the WAL")
	p.stop()
	w.exec(`UPDATE users SET firstname = 'Second' WHERE username LIKE 'many%0'`)
	w.exec(`DELETE FROM users WHERE username LIKE 'many%11'`)
	w.exec(insertMany, w.acme.ID, "new", 100)
	w.lose(dropSlot)
	p = launch(t, cfg)
	began := time.Now()
	p.waitFor(ctx, "reconciliation finished")
	t.Logf("%d rows were compared in %s", rows, time.Since(began).Round(time.Millisecond))
	p.fits(largest)
	p.stop()
	var result outbox.ReconciliationResult
	if err := json.Unmarshal([]byte(value[string](t, w.db, w.inOutbox(`SELECT result::text FROM relay.reconciliation`))), &result); err != nil {
		t.Fatal(err)
	}
	all := int64(0)
	for name, want := range map[string]int{"user.created": 100, "user.updated": rows / 10, "user.deleted": rows / 100} {
		if n := result.Events[name]; n != int64(want) {
			t.Errorf("%d %s, want %d", n, name, want)
		}
		all += int64(want)
	}
	if n := value[int64](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event WHERE reconciled`)); n != all {
		t.Errorf("%d events are in the outbox, want %d", n, all)
	}
	w.audit()
}
