package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

// startAndHang is what the test process does as its own child: it starts a cluster, prints where, and waits to be killed.
func startAndHang() error {
	c, err := cluster.Start(context.Background(), cluster.Options{})
	if err != nil {
		return err
	}
	fmt.Println(c.Port(), c.Dir())
	_, err = os.Stdin.Read(make([]byte, 1)) // The parent never writes.
	return err
}

func TestServer_EndsWithAProcessThatIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := osexec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), "CLUSTER_TEST_HANG=1")
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var port int
	var dir string
	if _, err := fmt.Sscan(line, &port, &dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })

	// A session ends when the server does.
	session, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(ctx)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := session.WaitForNotification(waiting); waiting.Err() != nil {
		log, readErr := os.ReadFile(filepath.Join(dir, "log"))
		t.Errorf("the server outlives the process that started it: %v; its log, %v:\n%s", err, readErr, log)
	}
	if err := child.Wait(); err == nil {
		t.Error("the killed child says that it succeeded")
	}
	start(t, cluster.Options{})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the next cluster leaves the directory of the one whose process was killed: %v", err)
	}
}

func TestServer_OutlivesTheThreadThatAskedForIt(t *testing.T) {
	t.Parallel()
	started := make(chan *cluster.Cluster)
	go func() {
		runtime.LockOSThread() // The thread ends with the goroutine.
		c, err := cluster.Start(t.Context(), cluster.Options{})
		if err != nil {
			t.Error(err)
		}
		started <- c
	}()
	c := <-started
	if c == nil {
		return
	}
	defer c.Close()
	if got := query[int](t, c.URL("postgres"), "SELECT count(*) FROM generate_series(1, 1000000)"); got != 1_000_000 {
		t.Errorf("the server counts to %d", got)
	}
}
