package integration_test

import (
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// The server checks no position, so the relay does. Whatever happened to its slot while it was down, it refuses to run with
// one sentence, and neither makes a slot nor touches the one that is there.
func TestPosition_RefusesASlotThatIsNotAsItWasLeft(t *testing.T) {
	t.Parallel()
	const drop = `SELECT pg_drop_replication_slot($1)`
	for name, test := range map[string]struct {
		happens func(w *world)
		says    string
	}{
		"dropped": {
			func(w *world) { w.exec(drop, w.name) },
			"does not exist any more, and the changes since then are in no slot",
		},
		"advanced": {
			func(w *world) { w.exec(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, w.name) },
			"another program has read from it, advanced it or recreated it",
		},
		"recreated": {
			func(w *world) {
				w.exec(drop, w.name)
				w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name)
			},
			"another program has read from it, advanced it or recreated it",
		},
		"made in another database": {
			func(w *world) {
				w.exec(drop, w.name)
				other := connect(w.t, clustertest.Database(w.t))
				if _, err := other.Exec(w.t.Context(), `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name); err != nil {
					w.t.Fatal(err)
				}
			},
			"it belongs to another program; choose another source.slot",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config().webhook(w.hook, "/all").set("source.reconcile", "stop")
			p := start(t, cfg)
			var a, meanwhile account
			w.createUser(&a, 1)
			a.arrives(t, w.hook, "/all")
			p.stop()
			w.createUser(&meanwhile, 2)
			test.happens(w)
			w.refuses(cfg, test.says)
			a.arrives(t, w.hook, "/all")
		})
	}
}

// A slot that was there before the relay ever ran is not the relay's.
func TestPosition_RefusesAForeignSlotAtTheFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name)
	w.refuses(w.config(), "this outbox has never read from it: drop it, or choose another source.slot")
}

// A slot that is dropped under a relay that reads from it ends that relay as well.
func TestPosition_SlotDroppedWhileRunningEndsTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all").set("source.reconcile", "stop"))
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	eventually(t, "the slot is dropped", func() (bool, error) {
		if _, err := w.db.Exec(t.Context(), `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, w.name); err != nil {
			return false, err
		}
		_, err := w.db.Exec(t.Context(), `SELECT pg_drop_replication_slot($1)`, w.name)
		return err == nil, err
	})
	if said := p.fails(); !strings.Contains(said, "slot "+w.name) {
		t.Errorf("the relay does not name the slot: %s", said)
	}
	w.leavesAlone("")
}

// refuses runs the relay, which must give up with a sentence and leave slots and outbox as they are.
func (w *world) refuses(cfg *config, sentence string) {
	w.t.Helper()
	before := w.slot()
	p := launch(w.t, cfg)
	said := p.fails()
	if !strings.Contains(said, "slot "+w.name) || !strings.Contains(said, sentence) || strings.Count(said, "\n") > 1 {
		w.t.Errorf("the relay refuses with other words than slot %s … %q: %s", w.name, sentence, said)
	}
	w.leavesAlone(before)
}

func (w *world) leavesAlone(before string) {
	w.t.Helper()
	if after := w.slot(); after != before {
		w.t.Errorf("the slot was %q and is %q", before, after)
	}
}

// slot is everything about the relay's slot, empty if there is none.
func (w *world) slot() string {
	w.t.Helper()
	return value[string](w.t, w.db, `SELECT coalesce((SELECT concat_ws(' ', plugin, database, restart_lsn, confirmed_flush_lsn, active)
		FROM pg_replication_slots WHERE slot_name = $1), '')`, w.name)
}
