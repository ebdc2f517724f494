package clustertest_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Run(m)) }

func TestDatabase_IsFreshAndIsDroppedWithItsSlots(t *testing.T) {
	var urls []string
	for range 2 {
		t.Run("a test, with: odd/name and a long one, for which PostgreSQL has no room", func(t *testing.T) {
			url := clustertest.Database(t)
			urls = append(urls, url)
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			if _, err := conn.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('kept_behind', 'pgoutput')"); err != nil {
				t.Fatal(err)
			}
		})
	}
	if urls[0] == urls[1] {
		t.Errorf("two tests share the database %s", urls[0])
	}
	conn, err := clustertest.Cluster(t).Connect(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var databases, slots int
	if err := conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM pg_database), (SELECT count(*) FROM pg_replication_slots)").Scan(&databases, &slots); err != nil {
		t.Fatal(err)
	}
	if databases != 3 || slots != 0 {
		t.Errorf("%d databases and %d slots are left, want PostgreSQL's own 3 and 0", databases, slots)
	}
}
