package cdc_test

import (
	"errors"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
)

// Every row of the snapshot is read exactly once, even if it was changed or deleted since, for tables of different shapes.
func TestSnapshot_CopyReadsEveryRowOnce(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.exec(`INSERT INTO users SELECT n, 'name ' || n, repeat('x', CASE WHEN n % 400 = 0 THEN 1000000 ELSE n % 7 END) FROM generate_series(1, 12000) n`,
		`ALTER TABLE audit ALTER bio SET STORAGE EXTERNAL`,
		`INSERT INTO audit SELECT n, 'name', repeat('y', CASE WHEN n <= 3000 THEN 1 ELSE 1500000 END) FROM generate_series(1, 3020) n`,
		`DELETE FROM users WHERE id BETWEEN 3000 AND 4000`, `UPDATE users SET name = 'changed' WHERE id % 5 = 0`)
	want := map[string]string{}
	for _, table := range []string{"users", "audit"} {
		var n int
		var ids, sum string
		if err := s.conn.QueryRow(t.Context(), `SELECT count(*), sum(id)::text, sum(length(coalesce(name, '')) + length(bio))::text FROM `+table).Scan(&n, &ids, &sum); err != nil {
			t.Fatal(err)
		}
		want[table] = ids + " " + sum
	}
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	s.exec(`DELETE FROM users WHERE id % 3 = 0`, `UPDATE users SET name = 'later'`, `INSERT INTO users SELECT n FROM generate_series(20000, 21000) n`, `VACUUM users`)
	for _, table := range []*cdc.Table{users, audit} {
		var ids, sum, biggest int
		err := snapshot.Copy(t.Context(), table, func(row cdc.Row) error {
			ids += number(t, row[0].Text)
			sum += len(row[1].Text) + len(row[2].Text)
			biggest = max(biggest, len(row[2].Text))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := text(ids) + " " + text(sum); got != want[table.Name] {
			t.Errorf("%s: %s, want %s", table.Name, got, want[table.Name])
		}
	}
	if row, err := snapshot.Row(t.Context(), users, []string{"5"}); err != nil || row[1].Text != "changed" {
		t.Errorf("row %v, %v", row, err)
	}
	if row, err := snapshot.Row(t.Context(), users, []string{"3500"}); err != nil || row != nil {
		t.Errorf("row %v, %v", row, err)
	}
}

// A slow or frozen consumer holds no lock, so migrations of the application pass. One that rewrites the table ends the copy,
// and a new snapshot is needed.
func TestSnapshot_CopyDoesNotBlockMigrations(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.exec(`INSERT INTO users SELECT n, repeat('n', 100) FROM generate_series(1, 100000) n`)
	for _, test := range []struct {
		migration string
		rewrites  bool
	}{
		{`ALTER TABLE users ADD COLUMN later int`, false},
		{`ALTER TABLE users ALTER name TYPE varchar(200) USING name || ''`, true},
		{`TRUNCATE users`, true},
	} {
		snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = snapshot.Copy(t.Context(), users, func(cdc.Row) error {
			if n++; n == 50 {
				s.exec(`SET lock_timeout = '5s'`, test.migration)
			}
			return nil
		})
		if test.rewrites {
			if !errors.Is(err, cdc.ErrSnapshotGone) || !cdc.IsTransient(err) {
				t.Errorf("%s: got %d rows and error %v, want ErrSnapshotGone", test.migration, n, err)
			}
			err = snapshot.Copy(t.Context(), users, func(cdc.Row) error { return nil })
			if !errors.Is(err, cdc.ErrSnapshotGone) {
				t.Errorf("%s, then a copy: error %v, want ErrSnapshotGone", test.migration, err)
			}
		} else if err != nil || n != 100000 {
			t.Errorf("%s: %d rows, error %v", test.migration, n, err)
		}
		snapshot.Close()
	}
}

// While a migration replaces the primary key, the changes that need no replica identity are read.
func TestStream_WhileAKeyIsReplaced(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 10)
	s.exec(`ALTER TABLE users DROP CONSTRAINT users_pkey`, `INSERT INTO users VALUES (1, 'a')`, `ALTER TABLE users ADD PRIMARY KEY (id)`, `UPDATE users SET name = 'b'`)
	diff(t, "changes", []string{"insert users 1 new ('1', 'a', null)"}, r.changes())
	diff(t, "changes", []string{"update users 1 new ('1', 'b', null)"}, r.changes())
	s.exec(`BEGIN`, `ALTER TABLE users DROP CONSTRAINT users_pkey`, `INSERT INTO users VALUES (2, 'a')`, `TRUNCATE audit`, `ALTER TABLE users ADD PRIMARY KEY (id)`,
		`UPDATE users SET name = 'c' WHERE id = 2`, `COMMIT`)
	diff(t, "changes", []string{"insert users 2 new ('2', 'a', null)", "truncate audit", "update users 2 new ('2', 'c', null)"}, r.changes())
}

// The error about an UPDATE without a replica identity names the table, the column and the position.
func TestStream_UpdateWithoutIdentity(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.exec(`CREATE UNIQUE INDEX by_name ON users (name)`, `ALTER TABLE users ALTER name SET NOT NULL`, `INSERT INTO users VALUES (1, 'a')`,
		`ALTER TABLE users REPLICA IDENTITY USING INDEX by_name`, `UPDATE users SET bio = 'x'`)
	r := s.stream(s.start, 10)
	diff(t, "changes", []string{"insert users 1 new ('1', 'a', null)"}, r.changes())
	schemaErr, ok := errors.AsType[*cdc.SchemaError](r.ended())
	if !ok || schemaErr.Table != "public.users" || schemaErr.Column != "id" || schemaErr.LSN == 0 {
		t.Errorf("got %v, want an error with table, column and position", schemaErr)
	}
}
