package cdc_test

import (
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
)

// A schema change after which changes may be missing from the WAL changes the fingerprint of its table only; others do not.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	take := func() map[string]string {
		t.Helper()
		prints, err := cdc.Fingerprints(t.Context(), s.conn, s.config.Publication, mapped)
		if err != nil {
			t.Fatal(err)
		}
		return prints
	}
	s.exec(`INSERT INTO users SELECT generate_series(1, 10)`)
	before := take()
	if len(before) != 3 || before["users"] == "" || before["users"] == before["audit"] {
		t.Fatalf("fingerprints %v", before)
	}
	const publication = `ALTER PUBLICATION "odd ""name""" `
	for _, test := range []struct {
		does    string
		changes []string
		sql     []string
	}{
		{"rows", nil, []string{`UPDATE users SET name = 'x'`, `DELETE FROM users WHERE id > 5`, `TRUNCATE audit`, `VACUUM FULL users`, `VACUUM (FULL) pg_attribute`, `ANALYZE users`, `CREATE INDEX ON users (name)`}},
		{"column metadata", nil, []string{
			`GRANT SELECT (name) ON users TO pg_monitor`, `ALTER TABLE users ALTER COLUMN name SET STATISTICS 5`, `ALTER TABLE users ALTER COLUMN bio SET STORAGE EXTERNAL`,
			`ALTER TABLE users ALTER COLUMN bio SET DEFAULT 'x'`, `ALTER TABLE users ALTER COLUMN name SET NOT NULL`, `COMMENT ON COLUMN users.name IS 'x'`,
		}},
		{"a new file", nil, []string{`TRUNCATE users`, `VACUUM FULL users`, `CLUSTER users USING users_pkey`}},
		{"a column that is not mapped", nil, []string{`ALTER TABLE users ADD COLUMN other text DEFAULT 'x'`, `ALTER TABLE users ALTER COLUMN other TYPE varchar(9)`, `ALTER TABLE users DROP COLUMN other`}},
		{"removed from the publication and added again", []string{"audit"}, []string{publication + `DROP TABLE audit`, publication + `ADD TABLE audit`}},
		{"recreated", []string{"user_role"}, []string{`DROP TABLE user_role`, `CREATE TABLE user_role (user_id int, role_id int, note text, PRIMARY KEY (user_id, role_id))`, publication + `ADD TABLE user_role`}},
		{"rewritten", []string{"users"}, []string{`ALTER TABLE users ALTER COLUMN name TYPE text USING upper(name)`}},
		{"a recreated column", []string{"users"}, []string{`ALTER TABLE users DROP COLUMN bio`, `ALTER TABLE users ADD COLUMN bio text DEFAULT 'x'`}},
		{"fewer operations published, then all again", []string{"users", "user_role", "audit"}, []string{publication + `SET (publish = 'insert')`, publication + `SET (publish = 'insert, update, delete, truncate')`}},
		{"a recreated publication", []string{"users", "user_role", "audit"}, []string{`DROP PUBLICATION "odd ""name"""`, `CREATE PUBLICATION "odd ""name""" FOR TABLE users, user_role, audit`}},
	} {
		s.exec(test.sql...)
		after := take()
		var changed []string
		for _, table := range mapped {
			if !cdc.FingerprintsMatch(before[table.Name], after[table.Name]) {
				changed = append(changed, table.Name)
			}
		}
		diff(t, "fingerprints changed by "+test.does, test.changes, changed)
		before = after
	}
	fewer := &cdc.Table{Schema: "public", Name: "users", Columns: columns("id", "bio"), KeyColumns: 1}
	prints, err := cdc.Fingerprints(t.Context(), s.conn, s.config.Publication, []*cdc.Table{fewer})
	if err != nil {
		t.Fatal(err)
	}
	if !cdc.FingerprintsMatch(prints["users"], before["users"]) || !cdc.FingerprintsMatch(before["users"], prints["users"]) {
		t.Error("mapping more or fewer columns counts as a change of the table")
	}
	s.exec(publication + `DROP TABLE audit`)
	if after := take(); after["audit"] != "" || len(after) != 2 {
		t.Errorf("an unpublished table has a fingerprint: %v", after)
	}
}
