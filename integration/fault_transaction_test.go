package integration_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// A transaction of the IAM stays open while the load runs and the relay is killed: the server must keep, and read again, the WAL
// since it began.
func TestFault_LongTransaction(t *testing.T) {
	t.Parallel()
	tr := newOwnWorld(t).try("source: a transaction stays open, the relay is killed meanwhile")
	p := tr.start()
	tr.begin()
	tr.inject(strength(20, 3, 1), func() {
		user := ferriskey.NewID()
		tx, err := tr.db.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES ($1::uuid, $2, $1::text, now(), now())`, user, tr.acme.ID); err != nil {
			t.Fatal(err)
		}
		tr.flows()
		p.kill()
		p = tr.start()
		tr.flows()
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		tr.load.add(expect("user.created", user, tr.acme.ID))
		tr.reaches("user.created", user)
	})
	tr.end(p)
}

// A snapshot that a session holds in the outbox's database keeps every dead row of the relay's hot tables.
func TestFault_HeldSnapshot(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("outbox: a snapshot is held, vacuum takes nothing away")
	p := tr.start()
	tr.begin()
	tr.inject(strength(5, 1, 1), func() {
		tx, err := tr.db.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
		if _, err := tx.Exec(t.Context(), `SELECT FROM users`); err != nil {
			t.Fatal(err)
		}
		for range strength(50, 15, 5) {
			tr.flows()
			tr.exec(tr.inOutbox(`VACUUM relay.position, relay.watermark, relay.mirror, relay.retry`))
		}
	})
	tr.end(p)
}

// Every third of the 10,000 subtransactions of a transaction is rolled back.
func TestFault_Subtransactions(t *testing.T) {
	t.Parallel()
	tr := newOwnWorld(t).try("source: a transaction of 10,000 subtransactions, every third rolled back")
	p := tr.start()
	tr.begin()
	n := 0
	tr.inject(strength(10, 1, 1), func() {
		n++
		prefix := fmt.Sprintf("sub-%d-", n)
		tr.exec(fmt.Sprintf(`DO $$ BEGIN
			FOR i IN 1..%d LOOP
				BEGIN
					INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES (gen_random_uuid(), '%s', '%s' || i, now(), now());
					IF i %% 3 = 0 THEN RAISE EXCEPTION 'undone'; END IF;
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END LOOP;
		END $$`, strength(10000, 10000, 1000), tr.acme.ID, prefix))
		for _, id := range ids(t, tr.db, `SELECT id FROM users WHERE username LIKE $1`, prefix+"%") {
			tr.load.add(expect("user.created", id, tr.acme.ID))
		}
	})
	tr.end(p)
}

// TRUNCATE … CASCADE empties a mapped table and those that refer to it: what was there is deleted, with what hangs on it.
func TestFault_TruncateCascade(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("source: TRUNCATE … CASCADE of a mapped table")
	p := tr.start()
	tr.begin()
	n := 0
	tr.inject(strength(20, 3, 1), func() {
		n++
		user := tr.createUser(&tr.load.account, 1_000_000+n)
		role, err := tr.iam.CreateRole(t.Context(), tr.acme.ID, fmt.Sprintf("operator-%d", n), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.iam.AssignRole(t.Context(), tr.acme.ID, user, role); err != nil {
			t.Fatal(err)
		}
		tr.load.add(expect("role.created", role, tr.acme.ID), expect("user.role.assigned", user, tr.acme.ID))
		realms := map[string]string{}
		for _, id := range ids(t, tr.db, `SELECT id || ' ' || realm_id FROM roles`) {
			var key, realm string
			if _, err := fmt.Sscan(id, &key, &realm); err != nil {
				t.Fatal(err)
			}
			realms[key] = realm
		}
		tr.exec(`TRUNCATE roles CASCADE`)
		for key, realm := range realms {
			tr.load.add(expect("role.deleted", key, realm))
		}
	})
	tr.end(p)
}
