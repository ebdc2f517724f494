package cdc_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// The publication lists the mapped tables only: statements on tables that inherit from them keep working, and neither the
// snapshot nor the stream has their rows.
func TestPublication_LeavesDescendantsAlone(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema+`;
		CREATE TABLE users_child (extra int) INHERITS (users);
		CREATE TABLE users_grandchild (more int) INHERITS (users_child);
		INSERT INTO users VALUES (1, 'parent'); INSERT INTO users_child (id, name) VALUES (1, 'child'); INSERT INTO users_grandchild (id, name) VALUES (2, 'grandchild')`, mapped)
	s.exec(`CREATE TABLE users_later (LIKE users)`, `ALTER TABLE users_later INHERIT users`, `INSERT INTO users_later VALUES (3, 'later')`)
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	rows := copyAll(t, snapshot, users)
	if len(rows) != 1 || rows[0][1].Text != "parent" {
		t.Errorf("copied %v, want only the parent's row", rows)
	}
	s.exec(`UPDATE users SET name = name || '!'`, `DELETE FROM users WHERE id > 1`)
	r := s.stream(snapshot.LSN, 10)
	diff(t, "changes", []string{"update users 1 new ('1', 'parent!', null)"}, r.changes())
	catalog, err := cdc.ReadCatalog(t.Context(), s.conn, mapped)
	if err != nil {
		t.Fatal(err)
	}
	warnings := catalog.Warnings()
	if len(warnings) != 1 || !strings.Contains(warnings[0].String(), "(public.users_child, public.users_later)") {
		t.Errorf("warnings %v", warnings)
	}
}

// Children that were published because their parent was listed without ONLY are removed from the publication.
func TestPublication_RemovesChildrenWhoseUpdatesFail(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema+`;
		CREATE TABLE users_keyless (extra int) INHERITS (users);
		CREATE TABLE users_keyed (PRIMARY KEY (id)) INHERITS (users);
		INSERT INTO users VALUES (1, 'parent'); INSERT INTO users_keyless (id) VALUES (1);
		CREATE PUBLICATION mine FOR TABLE users`, mapped)
	if _, err := s.conn.Exec(t.Context(), `UPDATE users SET name = 'x'`); err == nil {
		t.Fatal("the UPDATE succeeds, so there is nothing to test")
	}
	p := publication(t, s.conn, "mine", []*cdc.Table{users})
	diff(t, "descendants", []string{"public.users_keyed", "public.users_keyless"}, p.Descendants)
	if p.Extra != nil {
		t.Errorf("extra tables %v", p.Extra)
	}
	diff(t, "SQL", []string{`ALTER PUBLICATION "mine" DROP TABLE ONLY "public"."users_keyless";`}, p.SQL())
	if _, err := cdc.EnsurePublication(t.Context(), s.conn, "mine", []*cdc.Table{users}); err != nil {
		t.Fatal(err)
	}
	s.exec(`UPDATE users SET name = 'y'`)
}

// hazardCases are tables, by their DDL. The test publishes each and asks the server whether an UPDATE fails.
var hazardCases = []string{
	`CREATE TABLE h (id int PRIMARY KEY, a int)`,
	`CREATE TABLE h (id int, a int)`,
	`CREATE TABLE h (id int PRIMARY KEY DEFERRABLE, a int)`,
	`CREATE TABLE h (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int); CREATE UNIQUE INDEX ON h (id)`,
	`CREATE TABLE h (id int PRIMARY KEY DEFERRABLE, a int); CREATE UNIQUE INDEX h_i ON h (id); ALTER TABLE h REPLICA IDENTITY USING INDEX h_i`,
	`CREATE TABLE h (id int PRIMARY KEY, a int); ALTER TABLE h REPLICA IDENTITY NOTHING`,
	`CREATE TABLE h (id int PRIMARY KEY, a int); ALTER TABLE h REPLICA IDENTITY FULL`,
	`CREATE TABLE h (id int NOT NULL, a int); CREATE UNIQUE INDEX h_i ON h (id); ALTER TABLE h REPLICA IDENTITY USING INDEX h_i; DROP INDEX h_i`,
	`CREATE TABLE h (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (id) STORED); ALTER TABLE h REPLICA IDENTITY FULL`,
	`CREATE TABLE h (id int PRIMARY KEY, a int); ALTER TABLE h DROP CONSTRAINT h_pkey`,
	`CREATE TABLE hp (id int, a int) PARTITION BY RANGE (id); CREATE TABLE h PARTITION OF hp FOR VALUES FROM (0) TO (10)`,
	`CREATE TABLE hp (id int PRIMARY KEY, a int) PARTITION BY RANGE (id); CREATE TABLE h PARTITION OF hp FOR VALUES FROM (0) TO (10)`,
}

// PublicationHazards reports a table if and only if the server rejects its UPDATE, in whichever way it is published.
func TestPublicationHazards_MatchTheServer(t *testing.T) {
	t.Parallel()
	major := clustertest.Cluster(t).Major
	conn := connect(t, clustertest.Database(t))
	ways := []string{
		`CREATE PUBLICATION p FOR TABLE h`, `CREATE PUBLICATION p FOR TABLE h WITH (publish_via_partition_root)`, `CREATE PUBLICATION p FOR ALL TABLES`,
		`CREATE PUBLICATION p FOR TABLE hp WITH (publish_via_partition_root)`, `CREATE PUBLICATION p FOR TABLE hp`,
	}
	if major >= 15 {
		ways = append(ways, `CREATE PUBLICATION p FOR TABLES IN SCHEMA public`)
	}
	cases := slices.Clone(hazardCases)
	if major >= 18 {
		cases = append(cases, `CREATE TABLE h (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (id) VIRTUAL); ALTER TABLE h REPLICA IDENTITY FULL`)
	}
	for _, table := range cases {
		for _, way := range ways {
			if strings.Contains(way, " hp") && !strings.Contains(table, " hp ") {
				continue
			}
			if _, err := conn.Exec(t.Context(), table+"; INSERT INTO h VALUES (1, 1);"+way); err != nil {
				t.Fatalf("%s; %s: %v", table, way, err)
			}
			_, refused := conn.Exec(t.Context(), `UPDATE h SET a = 2`)
			hazards, err := cdc.PublicationHazards(t.Context(), conn)
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(hazards, func(h cdc.PublicationHazard) bool { return h.Table == "public.h" })
			if found != (refused != nil) {
				t.Errorf("%s; %s: UPDATE gives %v, hazards %v", table, way, refused, hazards)
			}
			if _, err := conn.Exec(t.Context(), `DROP PUBLICATION p; DROP TABLE IF EXISTS hp, h CASCADE`); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A partition that is published under the name of its root is reported, and not added again.
func TestPublication_PartitionPublishedThroughItsRoot(t *testing.T) {
	t.Parallel()
	conn := connect(t, clustertest.Database(t))
	_, err := conn.Exec(t.Context(), `CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (10);
		CREATE PUBLICATION p FOR TABLE ONLY leaf WITH (publish_via_partition_root)`)
	if err != nil {
		t.Fatal(err)
	}
	leaf := []*cdc.Table{{Schema: "public", Name: "leaf", Columns: columns("id"), KeyColumns: 1}}
	if p := publication(t, conn, "p", leaf); p.SQL() != nil || p.Problems() != nil {
		t.Errorf("before: %q, %q", p.SQL(), p.Problems())
	}
	if _, err := conn.Exec(t.Context(), `ALTER PUBLICATION p ADD TABLE root`); err != nil {
		t.Fatal(err)
	}
	p := publication(t, conn, "p", leaf)
	if p.SQL() != nil || len(p.Problems()) != 1 || !strings.Contains(p.Problems()[0], "(public.leaf)") {
		t.Errorf("%q, %q", p.SQL(), p.Problems())
	}
}

// Relays that start at the same time create one publication.
func TestEnsurePublication_Concurrently(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	if _, err := connect(t, url).Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		conn := connect(t, url)
		all.Go(func() {
			for round := range 5 {
				name := fmt.Sprintf("p%d", round)
				if i == 0 { // slower than the others, so it finds tables missing
					if _, err := conn.Exec(t.Context(), "SELECT pg_sleep(0.01)"); err != nil {
						t.Error(err)
					}
				}
				p, err := cdc.EnsurePublication(t.Context(), conn, name, mapped[:1+i%3])
				if err != nil || p.Missing != nil {
					t.Errorf("%v, missing %v", err, p.Missing)
				}
			}
		})
	}
	all.Wait()
}

// While a migration has a table locked, the wait for that lock blocks no statement of the application.
func TestEnsurePublication_DoesNotBlockMigrations(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	migration := connect(t, s.url)
	var tx pgx.Tx
	tx, err := migration.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `ALTER TABLE audit ADD later int`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	maker := connect(t, s.url)
	go func() {
		_, err := cdc.EnsurePublication(t.Context(), maker, "mine", mapped)
		done <- err
	}()
	// The session has users locked while it waits for audit. The migration still gets users, and is not the victim of a deadlock.
	watcher := connect(t, s.url)
	until(t, "the relay waits", func() (waits bool) {
		if err := watcher.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)`, maker.PgConn().PID()).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	if _, err := tx.Exec(t.Context(), `ALTER TABLE users ADD later int`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
