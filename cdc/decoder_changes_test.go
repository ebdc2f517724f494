package cdc_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// big is a value that PostgreSQL stores out of line (TOAST), because it does not compress.
const big = `(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) AS i)`

// changeCases are transactions and the changes that they give.
var changeCases = []struct {
	name   string
	before []string // committed first, each in its own transaction
	do     string   // the transaction under test
	want   []string
}{
	{
		"insert, update and delete with the default identity", nil,
		`INSERT INTO users VALUES (1, 'ann', NULL, 's3cret'); UPDATE users SET name = 'bob'; DELETE FROM users`,
		[]string{"insert users 1 new ('1', 'ann', null)", "update users 1 new ('1', 'bob', null)", "delete users 1"},
	},
	{
		"with full identity", nil,
		`INSERT INTO audit VALUES (1, 'ann', NULL, 's3cret'); UPDATE audit SET name = 'bob'; DELETE FROM audit`,
		[]string{
			"insert audit 1 new ('1', 'ann', null)", "update audit 1 old ('1', 'ann', null) new ('1', 'bob', null)",
			"delete audit 1 old ('1', 'bob', null)",
		},
	},
	{
		"an update that changes nothing",
		[]string{`INSERT INTO users VALUES (1, 'ann')`},
		`UPDATE users SET name = name`,
		[]string{"update users 1 new ('1', 'ann', null)"},
	},
	{
		"an unchanged large value",
		[]string{`INSERT INTO users VALUES (1, 'ann', ` + big + `)`},
		`UPDATE users SET name = 'bob'`,
		[]string{"update users 1 new ('1', 'bob', unchanged)"},
	},
	{
		"an unchanged large value with full identity",
		[]string{`INSERT INTO audit VALUES (1, 'ann', ` + big + `)`},
		`UPDATE audit SET name = 'bob'`,
		[]string{"update audit 1 old ('1', 'ann', 9600 bytes) new ('1', 'bob', 9600 bytes)"},
	},
	{
		"a changed key",
		[]string{`INSERT INTO users VALUES (1, 'ann', ` + big + `)`},
		`UPDATE users SET id = 2`,
		[]string{"delete users 1", "insert users 2 from 1 new ('2', 'ann', unchanged)"},
	},
	{
		"a changed key with full identity",
		[]string{`INSERT INTO audit VALUES (1, 'ann', ` + big + `)`},
		`UPDATE audit SET id = 2`,
		[]string{"delete audit 1 old ('1', 'ann', 9600 bytes)", "insert audit 2 from 1 new ('2', 'ann', 9600 bytes)"},
	},
	{
		"a key of two columns", nil,
		`INSERT INTO user_role VALUES (1, 7, 'a'); UPDATE user_role SET note = 'b'; UPDATE user_role SET role_id = 8; DELETE FROM user_role`,
		[]string{
			"insert user_role 1/7 new ('1', '7', 'a')", "update user_role 1/7 new ('1', '7', 'b')",
			"delete user_role 1/7", "insert user_role 1/8 from 1\x1f7 new ('1', '8', 'b')", "delete user_role 1/8",
		},
	},
	{
		"an upsert",
		[]string{`INSERT INTO users VALUES (1, 'ann')`},
		`INSERT INTO users VALUES (1, 'bob') ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
		[]string{"update users 1 new ('1', 'bob', null)"},
	},
	{
		"a truncation",
		[]string{`INSERT INTO users VALUES (1)`},
		`TRUNCATE users, foreign_table, audit; INSERT INTO users VALUES (2)`,
		[]string{"truncate users", "truncate audit", "insert users 2 new ('2', null, null)"},
	},
	{
		"a subtransaction that is rolled back", nil,
		`INSERT INTO users VALUES (1); SAVEPOINT s; INSERT INTO users VALUES (2); ROLLBACK TO s; SAVEPOINT s2; INSERT INTO users VALUES (3)`,
		[]string{"insert users 1 new ('1', null, null)", "insert users 3 new ('3', null, null)"},
	},
	{
		"rows of a foreign table are left out", nil,
		`INSERT INTO foreign_table VALUES (1); INSERT INTO users VALUES (1); INSERT INTO foreign_table VALUES (2)`,
		[]string{"insert users 1 new ('1', null, null)"},
	},
	{
		"columns are added, dropped and renamed",
		[]string{`INSERT INTO users VALUES (1, 'ann')`},
		`ALTER TABLE users ADD COLUMN token text DEFAULT 'hidden'; UPDATE users SET name = 'bob'; ALTER TABLE users DROP COLUMN secret;
		 UPDATE users SET token = 'x'; ALTER TABLE users RENAME COLUMN token TO other; INSERT INTO users VALUES (2, 'cid', 'bio', 'hidden')`,
		[]string{
			"update users 1 new ('1', 'bob', null)", "update users 1 new ('1', 'bob', null)", "insert users 2 new ('2', 'cid', 'bio')",
		},
	},
	{
		"odd texts", nil,
		`INSERT INTO users VALUES (1, E'tab\tline\nback\\slash', ''), (2, 'Zoë 🙂', '\N')`,
		[]string{"insert users 1 new ('1', 'tab\tline\nback\\slash', '')", `insert users 2 new ('2', 'Zoë 🙂', '\N')`},
	},
}

func TestStream_Changes(t *testing.T) {
	t.Parallel()
	for _, test := range changeCases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, schema, mapped)
			s.exec("ALTER PUBLICATION \"odd \"\"name\"\"\" ADD TABLE foreign_table")
			r := s.stream(s.start, 100)
			s.exec(test.before...)
			for range test.before {
				r.next().Close()
			}
			s.exec("BEGIN; " + test.do + "; COMMIT")
			diff(t, "changes", test.want, r.changes())
		})
	}
}

func TestStream_CopyYieldsOneChangePerRow(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 100)
	const rows = 1000
	_, err := s.conn.CopyFrom(t.Context(), pgx.Identifier{"users"}, []string{"id", "name"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
		return []any{i, "n"}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.changes(); len(got) != rows {
		t.Errorf("got %d changes, want %d", len(got), rows)
	}
}

func TestStream_OrdersInterleavedTransactionsByCommit(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 100)
	other := connect(t, s.url)
	s.exec(`BEGIN; INSERT INTO users VALUES (1)`)
	for _, sql := range []string{`BEGIN`, `INSERT INTO users VALUES (2)`, `COMMIT`} {
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s.exec(`INSERT INTO users VALUES (3); COMMIT`)
	first, second := r.next(), r.next()
	if first.Commit >= second.Commit || first.End > second.Commit || first.Commit >= first.End || first.XID == second.XID {
		t.Errorf("transactions %d at %s-%s and %d at %s-%s are not in order", first.XID, first.Commit, first.End, second.XID, second.Commit, second.End)
	}
	if second.Time.Before(first.Time) || second.Time.Location() != first.Time.UTC().Location() {
		t.Errorf("committed at %v and then at %v", first.Time, second.Time)
	}
	diff(t, "first", []string{"insert users 2 new ('2', null, null)"}, show(t, first))
	diff(t, "second", []string{"insert users 1 new ('1', null, null)", "insert users 3 new ('3', null, null)"}, show(t, second))
}

func TestStream_UnmappedColumnNeverLeaves(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-must-not-leave"
	for name, test := range map[string]struct {
		tables []*cdc.Table
		leaves bool
	}{
		"not mapped": {mapped, false},
		// The control: the search below finds a secret that is mapped.
		"mapped": {[]*cdc.Table{{Schema: "public", Name: "audit", Columns: columns("id", "secret"), KeyColumns: 1}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, schema, test.tables)
			r := s.stream(s.start, 100)
			s.exec(`BEGIN; INSERT INTO audit VALUES (1, 'a', 'b', '` + secret + `'); UPDATE audit SET name = 'c'; UPDATE audit SET id = 2; DELETE FROM audit; COMMIT`)
			transaction := r.next()
			found := false
			for c, err := range transaction.All() {
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range append(c.New, c.Old...) {
					found = found || strings.Contains(v.Text, secret)
				}
			}
			if found != test.leaves {
				t.Errorf("secret found: %t, want %t", found, test.leaves)
			}
		})
	}
}

func TestStream_HashesColumnsAndResolvesDomains(t *testing.T) {
	t.Parallel()
	sessions := &cdc.Table{Schema: "public", Name: "sessions", KeyColumns: 1, Columns: []cdc.Column{{Name: "token", Hash: true}, {Name: "code", Hash: true}, {Name: "age"}}}
	s := newSource(t, `
		CREATE DOMAIN token AS uuid; CREATE DOMAIN inner_age AS int; CREATE DOMAIN age AS inner_age;
		CREATE TABLE sessions (token token PRIMARY KEY, code text, age age)`, []*cdc.Table{sessions})
	const row = "('f81d4fae-7dec-11d0-a765-00a0c91e6bf6', 'abc', 5)"
	r := s.stream(s.start, 100)
	s.exec(`INSERT INTO sessions VALUES ` + row)
	transaction := r.next()
	changes := transaction.Changes()
	// The output of sha256sum for the 16 bytes, and for the text.
	want := cdc.Row{
		cdc.TextValue("4cec65a2e4281720e0e44dacd5eded1c352dab088f832931f3198c196c350cec"), cdc.TextValue("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), cdc.TextValue("5"),
	}
	diff(t, "row", want, changes[0].New)
	diff(t, "key", cdc.Key(want[0].Text), changes[0].Key)
	diff(t, "types", []uint32{2950, 25, 23}, changes[0].Relation.Types)

	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	copied := copyAll(t, snapshot, sessions)
	diff(t, "copied rows", []cdc.Row{want}, copied)
}

// A table is identified by its relation, not by its name. A change that does not fit the catalog as it was read ends the
// stream, and can be read once the catalog has been read again.
func TestStream_RenamedTable(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	read := func() {
		t.Helper()
		asOf := s.lsn()
		catalog, err := cdc.ReadCatalog(t.Context(), s.conn, mapped)
		if err != nil {
			t.Fatal(err)
		}
		s.config.Catalog, s.config.Identities = catalog, &cdc.Identities{AsOf: asOf, Tables: map[*cdc.Table]cdc.Identity{}}
		for _, table := range mapped {
			s.config.Identities.Tables[table] = cdc.Identity{Before: catalog.OID(table), After: catalog.OID(table)}
		}
	}
	read()
	r := s.stream(s.start, 100)
	s.exec(`INSERT INTO users (id) VALUES (1)`, `ALTER TABLE users RENAME TO people`, `ALTER TABLE people RENAME TO users`, `INSERT INTO users (id) VALUES (2)`)
	for _, want := range []string{"insert users 1", "insert users 2"} {
		if got := r.changes(); len(got) != 1 || !strings.HasPrefix(got[0], want+" ") {
			t.Fatalf("changes %v, want %s", got, want)
		}
	}
	s.exec(`BEGIN; ALTER TABLE users RENAME TO people; INSERT INTO people (id) VALUES (3); ALTER TABLE people RENAME TO users; COMMIT`)
	err := r.ended()
	altered, ok := errors.AsType[*cdc.AlteredError](err)
	if !ok || altered.Table != users || altered.Suspect || cdc.IsTransient(err) {
		t.Fatalf("the stream ended with %v, want an AlteredError about users", err)
	}
	read()
	r = s.stream(altered.LSN, 100)
	if got := r.changes(); len(got) != 1 || !strings.HasPrefix(got[0], "insert users 3 ") {
		t.Errorf("changes %v, want an insert of 3", got)
	}
	s.exec(`BEGIN; ALTER TABLE users RENAME COLUMN bio TO was; INSERT INTO users (id) VALUES (4); ALTER TABLE users RENAME COLUMN was TO bio; COMMIT`)
	if altered, ok := errors.AsType[*cdc.AlteredError](r.ended()); !ok || altered.Table != users || !altered.Suspect {
		t.Errorf("the stream ended with %v, want an AlteredError that makes users suspect", altered)
	}
}

func TestStream_SchemaChangeThatBreaksTheMapping(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ ddl, column string }{
		"column dropped":         {`ALTER TABLE users DROP COLUMN bio`, "bio"},
		"column renamed":         {`ALTER TABLE users RENAME COLUMN name TO full_name`, "name"},
		"identity without a key": {`ALTER TABLE users DROP CONSTRAINT users_pkey, ADD UNIQUE (id), ALTER secret SET NOT NULL, ADD UNIQUE (secret); ALTER TABLE users REPLICA IDENTITY USING INDEX users_secret_key`, "id"}, // an INSERT needs no identity
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, schema, mapped)
			r := s.stream(s.start, 100)
			s.exec(test.ddl, `INSERT INTO users (id, secret) VALUES (1, 'x')`, `UPDATE users SET secret = 'y'`)
			err := r.ended()
			schemaErr, ok := errors.AsType[*cdc.SchemaError](err)
			if !ok {
				t.Fatalf("the stream ended with %v, want a SchemaError", err)
			}
			if schemaErr.Table != "public.users" || schemaErr.Column != test.column || schemaErr.LSN < s.start || cdc.IsTransient(err) {
				t.Errorf("error %q, want one about column %s that is not transient", err, test.column)
			}
		})
	}
}
