package integration_test

import (
	endian "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// clock is the time of day as a server sees it.
type clock struct{ file string }

// jump sets by how much it is wrong from now on.
func (c *clock) jump(t testing.TB, by time.Duration) {
	t.Helper()
	file, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(endian.NativeEndian.AppendUint64(nil, uint64(int64(by/time.Second))), 0); err != nil {
		t.Fatal(err)
	}
}

// newServerWithClock starts a server whose clock jumps at will. Its programs are scripts that load testdata/clock.c into
// PostgreSQL's own.
func newServerWithClock(t *testing.T) (*cluster.Cluster, *clock) {
	t.Helper()
	dir, err := os.MkdirTemp("", "iam-relay-clock-") //nolint:usetesting // t.TempDir is closed to the server's account
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	library := filepath.Join(dir, "clock.so")
	if output, err := exec.Command("cc", "-O2", "-shared", "-fPIC", "-o", library, "testdata/clock.c", "-ldl").CombinedOutput(); err != nil {
		t.Skipf("no C compiler to make a clock that jumps: %v\n%s", err, output)
	}
	c := &clock{file: filepath.Join(dir, "offset")}
	binaries, err := cluster.FindBinaries()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{c.file: "\x00\x00\x00\x00\x00\x00\x00\x00"}
	for _, program := range []string{"initdb", "postgres"} {
		files[filepath.Join(dir, program)] = fmt.Sprintf("#!/bin/sh\nLD_PRELOAD='%s' CLOCK_FILE='%s' exec '%s' \"$@\"\n", library, c.file, filepath.Join(binaries, program))
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return clustertest.Server(t, cluster.Options{BinDir: dir}), c
}

// The clock of the IAM and of the outbox is set: commits are older than those before them, or an hour or weeks younger. The order is
// that of the WAL, not of the clock, and nothing that the relay waits for by a clock is forgotten. A day that no partition was made
// for is no obstacle, and what has not been delivered is not dropped because it seems to be past its retention.
func TestFault_ClockJumps(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]struct {
		by   time.Duration
		text string
	}{
		"forward": {time.Hour, "an hour forward"}, "back": {-time.Hour, "an hour back"},
		"weeks forward": {40 * 24 * time.Hour, "40 days forward"}, "weeks back": {-40 * 24 * time.Hour, "40 days back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "back" || name == "weeks forward" {
				inFullRun(t)
			}
			server, clock := newServerWithClock(t)
			tr := inhabit(t, server.URL("postgres")).try("source and outbox: the server's clock jumps " + jump.text)
			var none account
			var held []string // deletions that are emitted when they were not replacements
			for i := range strength(10, 2, 1) {
				user := tr.createUser(&none, i)
				if _, err := tr.iam.AddCredential(t.Context(), user, "otp"); err != nil {
					t.Fatal(err)
				}
				held = append(held, user)
			}
			p := tr.start()
			tr.begin()
			off := time.Duration(0)
			tr.inject(len(held), func() {
				before := now(t, tr.db)
				off += jump.by
				clock.jump(t, off)
				tr.until("the clock has jumped", `SELECT abs(extract(epoch FROM clock_timestamp() - $1::timestamptz)) > 1800`, before)
				user := held[0]
				held = held[1:]
				tr.exec(`DELETE FROM credentials WHERE user_id = $1`, user)
				tr.load.add(expect("user.credentials.deleted", user, tr.acme.ID))
				tr.reaches("user.credentials.deleted", user)
			})
			tr.end(p)
		})
	}
}

func now(t *testing.T, db *pgxpool.Pool) time.Time {
	t.Helper()
	return value[time.Time](t, db, `SELECT clock_timestamp()`)
}
