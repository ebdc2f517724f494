package subprocess_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/subprocess"
)

// script waits for its own child process, as some servers' start scripts do, and hands on SIGTERM.
const script = `trap 'kill -TERM $child; wait $child' TERM; sleep 1000 & child=$!; echo started; wait $child`

// hangVariable makes this test binary a parent that starts the script and waits to be killed.
const hangVariable = "SUBPROCESS_TEST_HANG"

func TestMain(m *testing.M) {
	if os.Getenv(hangVariable) != "" {
		cmd := exec.Command("sh", "-c", script)
		cmd.Stdout = os.Stdout
		if _, err := subprocess.Start(cmd, syscall.SIGTERM); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // The test never writes.
	}
	os.Exit(m.Run())
}

// ended fails unless all processes that hold the other end of the pipe end soon.
func ended(t *testing.T, pipe io.Reader) {
	t.Helper()
	end := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, pipe)
		end <- err
	}()
	select {
	case <-end:
	case <-time.After(time.Minute):
		t.Error("a process that was started has not ended")
	}
}

func TestStart_ChildEndsWithAParentThatIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	t.Parallel()
	output, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env, parent.Stdout, parent.Stderr = append(os.Environ(), hangVariable+"=1"), theirs, os.Stderr
	stdin, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if _, err := io.ReadFull(output, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // It was killed.
	ended(t, output)
}

func TestKillGroup_EndsWhatTheChildHasStarted(t *testing.T) {
	t.Parallel()
	output, theirs := io.Pipe()
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = theirs
	p, err := subprocess.Start(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, output)
	if !p.Running() {
		t.Error("the child is not running")
	}
	// It returns when the output has no writer left, so when the script's child has ended too.
	if err := p.KillGroup(); err != nil {
		t.Fatal(err)
	}
	if p.Running() {
		t.Error("the child is running")
	}
	if err := p.KillGroup(); err != nil {
		t.Errorf("killing it again: %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal to what has ended: %v", err)
	}
}
