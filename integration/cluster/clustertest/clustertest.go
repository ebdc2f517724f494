// Package clustertest gives tests one PostgreSQL cluster per test process, started when the first test asks for it, and
// databases of their own on it.
package clustertest

import (
	"context"
	"fmt"
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
	once    sync.Once
	shared  *cluster.Cluster
	failure error
	made    atomic.Int64
)

// Run is the body of TestMain: it runs the tests and then removes the cluster, if one was started.
//
//	func TestMain(m *testing.M) { os.Exit(clustertest.Run(m)) }
func Run(m interface{ Run() int }) int {
	code := m.Run()
	if shared == nil {
		return code
	}
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Cluster returns the test process's cluster. Tests that stop, kill or reconfigure a server start one of their own.
func Cluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		shared, failure = cluster.Start(ctx, cluster.Options{})
	})
	if failure != nil {
		t.Fatal(failure)
	}
	return shared
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
	name := fmt.Sprintf("%.40s_%d", unwanted.ReplaceAllString(strings.ToLower(t.Name()), "_"), made.Add(1))
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
