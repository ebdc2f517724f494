// Package clustertest gives tests one PostgreSQL cluster per test process, started when the first test asks for it, and
// databases of their own on it.
package clustertest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

// timeout bounds each step of setting up and cleaning up, so that a stuck server fails a test and not the whole run.
const timeout = 60 * time.Second

var (
	databases atomic.Int64
	template  = sync.OnceValues(func() (*cluster.Template, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		t, err := cluster.NewTemplate(ctx, "")
		if err == nil {
			atEnd(t.Close)
		}
		return t, err
	})
	shared = sync.OnceValues(func() (*cluster.Cluster, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		c, err := start(ctx, cluster.Options{Settings: map[string]string{
			"max_connections": "400", "max_replication_slots": "80", "max_wal_senders": "80",
		}})
		if err == nil {
			atEnd(c.Close)
		}
		return c, err
	})
)

// closers end what this process has made.
var closers struct {
	sync.Mutex
	all []func() error
}

func atEnd(f func() error) {
	closers.Lock()
	defer closers.Unlock()
	closers.all = append(closers.all, f)
}

// Run is the body of TestMain: it runs the tests and then removes the clusters, if any were started.
//
//	func TestMain(m *testing.M) { os.Exit(clustertest.Run(m)) }
func Run(m interface{ Run() int }) int {
	code := m.Run()
	for _, end := range closers.all {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// Cluster returns the test process's cluster. Tests that stop, kill or reconfigure a server start one with Server.
func Cluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Server starts a cluster for this test only, which ends with the test.
func Server(t testing.TB, o cluster.Options) *cluster.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	c, err := start(ctx, o)
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

// start starts a cluster quickly: initdb runs once for all, and nothing waits for the disk, which matters only when the
// machine itself crashes.
func start(ctx context.Context, o cluster.Options) (*cluster.Cluster, error) {
	settings := map[string]string{"fsync": "off"}
	maps.Copy(settings, o.Settings)
	o.Settings = settings
	if o.BinDir == "" {
		var err error
		if o.Template, err = template(); err != nil {
			return nil, err
		}
	}
	return cluster.Start(ctx, o)
}

var unwanted = regexp.MustCompile(`[^a-z0-9]+`)

// Database creates a database for this test and returns its URL. When the test ends, the database is dropped with its
// replication slots.
func Database(t testing.TB) string {
	t.Helper()
	return database(t, func(ctx context.Context, name string) error { return Cluster(t).CreateDatabase(ctx, name) })
}

func database(t testing.TB, create func(context.Context, string) error) string {
	t.Helper()
	c := Cluster(t)
	name := fmt.Sprintf("%.40s_%d", unwanted.ReplaceAllString(strings.ToLower(t.Name()), "_"), databases.Add(1))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := create(ctx, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := c.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return c.URL(name)
}

// Encoded creates a database whose texts are in the given encoding, as Database does.
func Encoded(t testing.TB, encoding string) string {
	t.Helper()
	return database(t, func(ctx context.Context, name string) error {
		return Cluster(t).CreateEncodedDatabase(ctx, name, encoding)
	})
}
