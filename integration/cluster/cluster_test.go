package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

func TestMain(m *testing.M) {
	if os.Getenv("CLUSTER_TEST_HANG") != "" {
		if err := startAndHang(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if t, err := template(); err != nil || t.Close() != nil {
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

var template = sync.OnceValues(func() (*cluster.Template, error) { return cluster.NewTemplate(context.Background(), "") })

func start(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	if o.Template, err = template(); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func query[T any](t *testing.T, url, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestStart_ServesOverBothSocketsWithItsSettings(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := start(t, cluster.Options{Log: &log, Settings: map[string]string{"max_connections": "33", "cluster_name": "it's mine"}})
	if err := c.CreateDatabase(t.Context(), `odd "name"`); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{c.URL(`odd "name"`), c.SocketURL(`odd "name"`)} {
		got := []string{
			query[string](t, url, "SHOW wal_level"), query[string](t, url, "SHOW max_connections"),
			query[string](t, url, "SHOW cluster_name"), query[string](t, url, "SHOW fsync"),
			query[string](t, url, "SELECT current_database() || '/' || current_user"),
		}
		want := []string{"logical", "33", "it's mine", "on", `odd "name"/postgres`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", url, diff)
		}
	}
	if !query[bool](t, c.URL("postgres"), "SELECT inet_server_addr() = '127.0.0.1'") || !query[bool](t, c.SocketURL("postgres"), "SELECT inet_server_addr() IS NULL") {
		t.Error("the URLs do not lead over TCP and over the Unix socket")
	}
	if got := query[string](t, c.URL("postgres"), "SHOW server_version"); !strings.HasPrefix(got, c.Version) {
		t.Errorf("Version is %s, the server says %s", c.Version, got)
	}
	if !strings.Contains(log.String(), c.Version) {
		t.Errorf("the log does not name the version:\n%s", log.String())
	}
}

func TestTemplate_EachCopyIsAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	const identifier = "SELECT system_identifier FROM pg_control_system()"
	first, second := start(t, cluster.Options{}), start(t, cluster.Options{})
	id := query[int64](t, first.URL("postgres"), identifier)
	if id == query[int64](t, second.URL("postgres"), identifier) {
		t.Error("two servers have the same system identifier")
	}
	exec(t, first.URL("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
	if err := errors.Join(first.Kill(), first.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := query[int64](t, first.URL("postgres"), identifier); got != id {
		t.Errorf("after a crash the system identifier is %d, and was %d", got, id)
	}
	if got := query[int](t, first.URL("postgres"), "SELECT answer FROM kept"); got != 42 {
		t.Errorf("after a crash the answer is %d", got)
	}
}

func TestStop_EachModeEndsTheServerAndKeepsTheData(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	exec(t, c.URL("postgres"), "CREATE TABLE kept (mode text)")
	for _, mode := range []string{"smart", "fast", "immediate"} {
		port := c.Port()
		exec(t, c.URL("postgres"), "INSERT INTO kept VALUES ('"+mode+"')")
		if err := c.Stop(mode); err != nil {
			t.Fatal(err)
		}
		if c.PID() != 0 {
			t.Errorf("after a %s stop the server still has pid %d", mode, c.PID())
		}
		if _, err := c.Connect(t.Context(), "postgres"); err == nil {
			t.Errorf("after a %s stop the server accepts connections", mode)
		}
		if err := c.Stop(mode); err != nil {
			t.Errorf("stopping a stopped server: %v", err)
		}
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.Port() != port {
			t.Errorf("the port was %d and is %d after a restart", port, c.Port())
		}
	}
	if got := query[int](t, c.URL("postgres"), "SELECT count(*) FROM kept"); got != 3 {
		t.Errorf("%d rows are left of 3", got)
	}
	if err := c.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("restarting a running server: %v", err)
	}
	if err := c.Stop("now"); err == nil || !strings.Contains(err.Error(), `unknown mode "now"`) {
		t.Errorf("an unknown mode: %v", err)
	}
}

func TestKill_CommittedRowsSurviveAndRestartWaitsForTheRemains(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	exec(t, c.URL("postgres"), "CREATE TABLE kept (i int)")
	for i := range 5 {
		conn, err := c.Connect(t.Context(), "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), "INSERT INTO kept VALUES ($1)", i); err != nil {
			t.Fatal(err)
		}
		// The connection stays open: its backend outlives the postmaster by a moment.
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := query[int](t, c.URL("postgres"), "SELECT count(*) FROM kept"); got != 5 {
		t.Errorf("%d rows are left of 5", got)
	}
}

func TestClose_RemovesItsOwnDirectoryAndLeavesAGivenOne(t *testing.T) {
	t.Parallel()
	own := start(t, cluster.Options{})
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(own.Dir()); !os.IsNotExist(err) {
		t.Errorf("its own directory is still there: %v", err)
	}

	given := filepath.Join(own.Dir()+"-given", strings.Repeat("long", 20))
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(given)) })
	if err := os.MkdirAll(filepath.Dir(given), 0o755); err != nil {
		t.Fatal(err)
	}
	first := start(t, cluster.Options{Dir: given})
	exec(t, first.SocketURL("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, cluster.Options{Dir: given})
	if got := query[int](t, second.URL("postgres"), "SELECT answer FROM kept"); got != 42 {
		t.Errorf("the second cluster in the directory answers %d", got)
	}
}

func TestHBA_ComesBeforeTrust(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{HBA: []string{"host all guarded 127.0.0.1/32 scram-sha-256"}})
	exec(t, c.URL("postgres"), "CREATE ROLE guarded LOGIN PASSWORD 'right'")
	guarded := strings.Replace(c.URL("postgres"), "postgres@", "guarded:wrong@", 1)
	if _, err := pgx.Connect(t.Context(), guarded); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("a wrong password: %v", err)
	}
	if got := query[string](t, strings.Replace(guarded, "wrong", "right", 1), "SELECT current_user"); got != "guarded" {
		t.Errorf("the right password gives user %s", got)
	}
}

func TestStart_SaysWhyTheServerWouldNot(t *testing.T) {
	t.Parallel()
	_, err := cluster.Start(t.Context(), cluster.Options{Settings: map[string]string{"wal_level": "nonsense"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "wal_level"`) {
		t.Errorf("a wrong setting: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cluster.Start(ctx, cluster.Options{}); err == nil {
		t.Error("a start under an ended context succeeds")
	}
}

func TestDropDatabase_EndsSessionsAndSlots(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	if err := c.CreateDatabase(t.Context(), "busy"); err != nil {
		t.Fatal(err)
	}
	session, err := c.Connect(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	exec(t, c.URL("busy"), "SELECT pg_create_logical_replication_slot('idle', 'pgoutput')")
	exec(t, c.URL("busy"), "CREATE PUBLICATION everything FOR ALL TABLES")
	walsender, err := pgconn.Connect(t.Context(), c.URL("busy")+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	defer walsender.Close(t.Context())
	if _, err := pglogrepl.CreateReplicationSlot(t.Context(), walsender, "streaming", "pgoutput", pglogrepl.CreateReplicationSlotOptions{}); err != nil {
		t.Fatal(err)
	}
	options := pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'everything'"}}
	if err := pglogrepl.StartReplication(t.Context(), walsender, "streaming", 0, options); err != nil {
		t.Fatal(err)
	}
	if err := c.DropDatabase(t.Context(), "busy"); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, c.URL("postgres"), "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'busy') + (SELECT count(*) FROM pg_replication_slots)"); got != 0 {
		t.Errorf("%d of the database and its slots are left", got)
	}
}

func TestServer_IsNoRootAndHasItsOwnProcessGroup(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	info, err := os.Stat(filepath.Join(c.Dir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid == 0 {
		t.Error("the data belongs to root")
	}
	group, err := syscall.Getpgid(c.PID())
	if err != nil || group != c.PID() {
		t.Errorf("the server, pid %d, is in process group %d: %v; a Ctrl-C in a terminal would stop it", c.PID(), group, err)
	}
}
