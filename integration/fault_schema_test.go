package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// Migrations of the IAM alter mapped tables while users come and go in another one. Rows that change outside the
// replication stream are emitted all the same.
func TestFault_Schema(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault string
		alter func(tr *trial, n int) // the n-th time, from 1
	}{
		"column_added": {"a column is added to a mapped table, with a default", func(tr *trial, n int) {
			tr.exec(fmt.Sprintf(`ALTER TABLE roles ADD COLUMN extra_%d text NOT NULL DEFAULT md5(random()::text)`, n))
			tr.createRole(n)
		}},
		"column_dropped": {"an optional mapped column is dropped, and added again", func(tr *trial, n int) {
			tr.exec(`ALTER TABLE roles DROP COLUMN require_mfa`)
			tr.createRole(2 * n)
			tr.exec(`ALTER TABLE roles ADD COLUMN require_mfa boolean NOT NULL DEFAULT false`)
			tr.createRole(2*n + 1)
		}},
		"column_renamed": {"a mapped column is renamed, and renamed back", func(tr *trial, n int) {
			tr.exec(`ALTER TABLE roles RENAME COLUMN require_mfa TO mfa`)
			tr.createRole(2 * n)
			tr.exec(`ALTER TABLE roles RENAME COLUMN mfa TO require_mfa`)
			tr.createRole(2*n + 1)
		}},
		"type_changed": {"the type of a mapped column is changed", func(tr *trial, n int) {
			tr.exec(`ALTER TABLE roles ALTER COLUMN name TYPE ` + []string{"varchar(255)", "text"}[n%2])
			tr.createRole(n)
		}},
		"table_rewritten": {"a mapped table is rewritten with other values", func(tr *trial, n int) {
			role := tr.createRole(n)
			tr.exec(fmt.Sprintf(`ALTER TABLE roles ALTER COLUMN description TYPE text USING '%s'`, role))
			for _, row := range ids(tr.t, tr.db, `SELECT concat_ws(' ', CASE WHEN client_id IS NULL THEN 'role.updated' ELSE 'client.role.updated' END, id, realm_id) FROM roles`) {
				of := strings.Fields(row)
				tr.load.add(expect(of[0], of[1], of[2]))
			}
			tr.reaches("role.updated", role)
		}},
		"table_vacuumed": {"a mapped table is rewritten as it is (VACUUM FULL, CLUSTER)", func(tr *trial, n int) {
			tr.exec(`VACUUM FULL users`)
			tr.exec(`CLUSTER users USING users_pkey`)
		}},
		"table_recreated": {"a mapped table is dropped and created again, with a row more", func(tr *trial, _ int) {
			origin := ferriskey.NewID()
			tr.exec(`BEGIN;
				CREATE TABLE origins (LIKE client_web_origins INCLUDING ALL);
				INSERT INTO origins SELECT * FROM client_web_origins;
				INSERT INTO origins (id, client_id, value, created_at, updated_at) VALUES ('` + origin + `', '` + tr.acme.Console + `', '` + origin + `', now(), now());
				DROP TABLE client_web_origins;
				ALTER TABLE origins RENAME TO client_web_origins;
				COMMIT`)
			tr.load.add(expect("web_origin.created", origin, tr.acme.ID))
			tr.reaches("web_origin.created", origin)
		}},
		"table_unpublished": {"a mapped table is taken out of the publication", func(tr *trial, n int) {
			tr.exec(`ALTER PUBLICATION ` + tr.name + ` DROP TABLE roles`)
			tr.reaches("role.created", tr.createRole(n))
		}},
		"publication_dropped": {"the publication is dropped", func(tr *trial, _ int) {
			tr.exec(`DROP PUBLICATION ` + tr.name)
			tr.until("there is one again", `SELECT count(*) > 0 FROM pg_publication WHERE pubname = $1`, tr.name)
		}},
		"slot_dropped": {"the replication slot is dropped", func(tr *trial, _ int) {
			tr.lose(dropSlot)
			tr.until("there is one again", `SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn IS NOT NULL`, tr.name)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newWorld(t).try("source: " + test.fault)
			tr.recreated = name == "publication_dropped" || name == "slot_dropped"
			p := tr.start()
			// What is not in the WAL is found as the difference that is left, so each row changes once there.
			tr.beginWith((*committer).create)
			n := 0
			tr.inject(strength(10, 2, 1), func() {
				n++
				test.alter(tr, n)
			})
			tr.end(p)
		})
	}
}

// createRole makes a role, whatever columns the table has, and accounts for it.
func (tr *trial) createRole(n int) string {
	tr.t.Helper()
	role := ferriskey.NewID()
	tr.exec(`INSERT INTO roles (id, realm_id, name) VALUES ($1, $2, $3)`, role, tr.acme.ID, fmt.Sprintf("role-%d", n))
	tr.load.add(expect("role.created", role, tr.acme.ID))
	return role
}

// A migration renames a column that the mapping needs. The relay stops and names it; nothing of what was committed meanwhile can be
// read from the WAL any more, so it is reconciled when the name is back.
func TestFault_NeededColumnRenamed(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("source: a column that the mapping needs is renamed, and renamed back when the relay has stopped")
	tr.recreated = true
	p := tr.start()
	tr.beginWith((*committer).create)
	n := 0
	tr.inject(strength(10, 1, 1), func() {
		n++
		tr.exec(`ALTER TABLE roles RENAME COLUMN description TO summary`)
		tr.createRole(n)
		if said := p.fails(); !strings.Contains(said, "column description") {
			t.Errorf("the relay does not name the column: %s", said)
		}
		tr.exec(`ALTER TABLE roles RENAME COLUMN summary TO description`)
		p.command("reconcile", "--skip-wal")
		p = tr.start()
	})
	tr.end(p)
}
