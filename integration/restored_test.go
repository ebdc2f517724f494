package integration_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// A server whose disk was put back to an earlier state has the same identity, timeline and slot. Once it was written past the stored
// position, only the content of its WAL shows that the relay has read another history. What was lost and what is new is emitted, and
// the mirror is again what the tables are.
func TestRestored_DiskSnapshotWrittenPastThePosition(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		frozen bool // the relay runs through it, and does not see the server being behind
		idle   bool // after the snapshot the relay has read nothing of the mapped tables
	}{
		{"relay away", false, false},
		{"relay running", true, false},
		{"nothing read but other tables", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newServer(t)
			p := plainAt(t, c.URL("postgres"))
			outbox := clustertest.Database(t)
			p.store = connect(t, outbox)
			p.cfg.set("outbox.url", outbox)
			p.exec(`CREATE TABLE other AS SELECT 1 AS n`)
			relay := start(t, p.cfg)
			p.settled("first")
			stored := func() string { return value[string](t, p.store, p.inOutbox(`SELECT lsn::text FROM relay.position`)) }
			if !test.frozen {
				relay.stop()
			}
			if err := c.Save(within(t)); err != nil {
				t.Fatal(err)
			}
			p.db.Reset() // the server was stopped meanwhile
			if !test.frozen {
				relay = start(t, p.cfg)
			}
			if test.idle {
				before := stored()
				eventually(t, "the position moves", func() (bool, error) {
					_, err := p.db.Exec(t.Context(), `UPDATE other SET n = n + 1`)
					return stored() != before, err
				})
			} else {
				p.exec(`INSERT INTO docs SELECT 'lost-' || i, 'o', i FROM generate_series(1, 3) AS i`)
				p.exec(`UPDATE docs SET n = 77 WHERE id = '1'`)
				p.exec(`DELETE FROM docs WHERE id = '2'`)
				p.emits("docs.created lost-1", "docs.created lost-2", "docs.created lost-3", "docs.updated 1", "docs.deleted 2")
			}
			if test.frozen {
				relay.signal(syscall.SIGSTOP)
			} else {
				relay.stop()
			}
			if err := c.PutBack(within(t)); err != nil {
				t.Fatal(err)
			}
			p.db.Reset()
			past := stored()
			for n := 0; !value[bool](t, p.db, `SELECT pg_current_wal_lsn() > $1::pg_lsn + 100000`, past); n++ {
				p.exec(`INSERT INTO docs SELECT 'new-' || $1 || '-' || i, 'o', i FROM generate_series(1, 100) AS i`, fmt.Sprint(n))
				for i := range 100 {
					p.events = append(p.events, fmt.Sprintf("docs.created new-%d-%d", n, i+1))
				}
			}
			if test.frozen {
				relay.signal(syscall.SIGCONT)
			} else {
				start(t, p.cfg)
			}
			if !test.idle {
				p.events = append(p.events, "docs.deleted lost-1", "docs.deleted lost-2", "docs.deleted lost-3", "docs.updated 1", "docs.created 2")
			}
			p.emits()
			p.settled("last")
			p.agrees("docs")
		})
	}
}

// What a crash of the relay or of the server makes the server send again is recognised as what was read: nothing is compared, and
// nothing is emitted twice.
func TestRestored_CrashIsNoRestore(t *testing.T) {
	t.Parallel()
	c := newServer(t)
	p := plainAt(t, c.URL("postgres"))
	outbox := clustertest.Database(t)
	p.store = connect(t, outbox)
	p.cfg.set("outbox.url", outbox)
	relay := start(t, p.cfg)
	for round := range 3 {
		p.settled(fmt.Sprintf("a-%d", round))
		p.exec(fmt.Sprintf(`BEGIN; UPDATE docs SET n = 1000 + %[1]d WHERE id = '1'; DELETE FROM docs WHERE id = '2'; INSERT INTO docs VALUES ('2', 'o', 500 + %[1]d); COMMIT`, round))
		p.emits("docs.updated 1", "docs.updated 2")
		relay.kill()
		if err := c.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(within(t)); err != nil {
			t.Fatal(err)
		}
		p.db.Reset()
		relay = start(t, p.cfg)
		p.settled(fmt.Sprintf("c-%d", round))
	}
	if n := value[int](t, p.store, p.inOutbox(`SELECT count(*) FROM relay.reconciliation`)); n != 0 {
		t.Errorf("%d reconciliations, want none", n)
	}
}
