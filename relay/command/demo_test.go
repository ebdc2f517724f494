package command_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What somebody has set wrongly is no reason to install anything.
func TestDemo_ServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	bin, nowhere := t.TempDir(), t.TempDir()
	trace := filepath.Join(bin, "trace")
	for _, name := range []string{"apt-get", "sudo"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho ran >>"+trace+"\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "demo")
	cmd.Env = []string{"PATH=" + bin + ":/bin:/usr/bin", "IAM_RELAY_TEST_PG_BIN=" + nowhere}
	output, err := cmd.CombinedOutput()
	want := "iam-relay: IAM_RELAY_TEST_PG_BIN is " + nowhere + ", which does not hold both initdb and postgres\n"
	if err == nil || !strings.HasSuffix(string(output), want) {
		t.Errorf("%v:\n%s", err, output)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("it tried to install something")
	}
}

func TestDemo_Interrupted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"Starting a private PostgreSQL", "has FerrisKey's tables", "The relay reads the log", "a user logs in"} {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), binary, "demo")
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := false
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			if !said && strings.Contains(scanner.Text(), at) {
				said = true
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // The exit code tells.
		if code := cmd.ProcessState.ExitCode(); code != 1 || log.String() != "iam-relay: interrupted\n" {
			t.Errorf("at %q: exit code %d, stderr %q", at, code, log.String())
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("at %q: it leaves %v (%v)", at, left, err)
		}
	}
}
