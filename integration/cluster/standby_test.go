package cluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster"
)

func standby(ctx context.Context, t *testing.T, primary *cluster.Cluster, o cluster.Options) *cluster.Cluster {
	t.Helper()
	s, err := primary.Standby(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// timeline is that of the WAL which a server writes.
const timeline = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"

func TestStandby_ReplaysAndIsPromoted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	primary := start(t, cluster.Options{Settings: map[string]string{"max_connections": "123"}})
	exec(t, primary.URL("postgres"), "CREATE TABLE replayed AS SELECT 'before' AS was")
	first := standby(ctx, t, primary, cluster.Options{})
	second := standby(ctx, t, primary, cluster.Options{Settings: map[string]string{"max_connections": "234"}})
	for _, s := range []*cluster.Cluster{first, second} {
		exec(t, primary.URL("postgres"), "INSERT INTO replayed VALUES ('after')")
		if err := s.CatchUp(ctx, primary); err != nil {
			t.Fatal(err)
		}
	}
	got := []string{
		query[string](t, first.URL("postgres"), "SELECT string_agg(was, ' ') FROM replayed"),
		query[string](t, first.URL("postgres"), "SHOW transaction_read_only"),
		query[string](t, first.URL("postgres"), "SHOW max_connections"),
		query[string](t, second.URL("postgres"), "SHOW max_connections"),
		query[string](t, primary.URL("postgres"), "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots WHERE active"),
		query[string](t, primary.URL("postgres"), timeline),
	}
	if diff := cmp.Diff([]string{"before after after", "on", "123", "234", "standby_1 standby_2", "00000001"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if query[string](t, first.URL("postgres"), systemID) != query[string](t, primary.URL("postgres"), systemID) {
		t.Error("the standby is another system")
	}

	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := first.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	exec(t, first.URL("postgres"), "INSERT INTO replayed VALUES ('promoted')")
	if got := query[string](t, first.URL("postgres"), timeline); got != "00000002" {
		t.Errorf("the promoted standby is on timeline %s", got)
	}
	if err := first.Promote(ctx); err == nil || !strings.Contains(err.Error(), "recovery is not in progress") {
		t.Errorf("promoting a primary: %v", err)
	}
}

const systemID = "SELECT system_identifier::text FROM pg_control_system()"

// A promoted standby has the failover slots, and the WAL that they need.
func TestStandby_TakesOverAFailoverSlot(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	primary := start(t, cluster.Options{})
	if primary.Major < 17 {
		t.Skipf("PostgreSQL %d has no failover slots; 17 brought them", primary.Major)
	}
	url := primary.URL("postgres")
	exec(t, url, "CREATE TABLE users (id int PRIMARY KEY)")
	table := &cdc.Table{Schema: "public", Name: "users", Columns: []cdc.Column{{Name: "id"}}, KeyColumns: 1}
	conn, err := primary.Connect(ctx, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := cdc.EnsurePublication(ctx, conn, "published", []*cdc.Table{table}); err != nil {
		t.Fatal(err)
	}
	follower := standby(ctx, t, primary, cluster.Options{})
	snapshot, err := cdc.CreateSlot(ctx, url, "kept", false)
	if err != nil {
		t.Fatal(err)
	}
	snapshot.Close()
	if err := follower.SyncSlot(ctx, primary, "kept"); err != nil {
		t.Fatal(err)
	}
	exec(t, url, "INSERT INTO users VALUES (1)")
	if err := follower.CatchUp(ctx, primary); err != nil {
		t.Fatal(err)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := follower.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	exec(t, follower.URL("postgres"), "INSERT INTO users VALUES (2)")

	source := cdc.NewSource(cdc.SourceConfig{
		URL: follower.URL("postgres"), Slot: "kept", Publication: "published", Tables: []*cdc.Table{table}, SpillDir: t.TempDir(),
	})
	messages, done := make(chan cdc.Message), make(chan error, 1)
	streaming, stop := context.WithCancel(ctx)
	go func() { done <- source.Stream(streaming, snapshot.LSN, messages) }()
	defer func() {
		stop()
		<-done
	}()
	for _, want := range []cdc.Key{"1", "2"} {
		if got := nextKey(t, messages, done); got != want {
			t.Errorf("the slot gives key %s, want %s", got, want)
		}
	}
}

// nextKey is the key of the only change of the next transaction that has any.
func nextKey(t *testing.T, messages <-chan cdc.Message, done chan error) (key cdc.Key) {
	t.Helper()
	for key == "" {
		select {
		case err := <-done:
			done <- err
			t.Fatal(err)
		case m := <-messages:
			if m.Transaction == nil {
				continue
			}
			for change, err := range m.Transaction.All() {
				if err != nil {
					t.Fatal(err)
				}
				key = change.Key
			}
			m.Transaction.Close()
		}
	}
	return key
}

func TestKillBackend_ReturnsWhenTheServerHasRecovered(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := start(t, cluster.Options{})
	exec(t, c.URL("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
	victim, err := c.Connect(ctx, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close(ctx)
	bystander, err := c.Connect(ctx, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer bystander.Close(ctx)
	postmaster, pid := c.PID(), int(victim.PgConn().PID())
	if err := c.KillBackend(ctx, pid); err != nil {
		t.Fatal(err)
	}
	if err := bystander.Ping(ctx); err == nil {
		t.Error("a session outlives the crash")
	}
	if got := query[int](t, c.URL("postgres"), "SELECT answer FROM kept"); got != 42 || c.PID() != postmaster {
		t.Errorf("after the crash the answer is %d and the server %d instead of %d", got, c.PID(), postmaster)
	}
	if err := c.KillBackend(ctx, pid); err == nil || !strings.Contains(err.Error(), "has no such process") {
		t.Errorf("killing what is not there: %v", err)
	}
}
