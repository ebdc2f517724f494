package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binary is the demo, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "iam-relay-demo-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "demo")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the demo: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// A wrong setting does not make the demo install PostgreSQL.
func TestDemo_MissingServer(t *testing.T) {
	t.Parallel()
	bin, nowhere := t.TempDir(), t.TempDir()
	trace := filepath.Join(bin, "trace")
	for _, name := range []string{"apt-get", "sudo"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho ran >>"+trace+"\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{"PATH=" + bin + ":/bin:/usr/bin", "IAM_RELAY_TEST_PG_BIN=" + nowhere}
	output, err := cmd.CombinedOutput()
	want := "demo: IAM_RELAY_TEST_PG_BIN is " + nowhere + ", which does not hold both initdb and postgres\n"
	if err == nil || !strings.HasSuffix(string(output), want) {
		t.Errorf("%v:\n%s", err, output)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("it tried to install something")
	}
}

func TestDemo_Interrupted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"Starting a private PostgreSQL", "has FerrisKey's tables", "The relay is streaming", "a user logs in"} {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), binary)
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
		_ = cmd.Wait() // The exit code is checked below.
		if code := cmd.ProcessState.ExitCode(); code != 1 || log.String() != "demo: interrupted\n" {
			t.Errorf("at %q: exit code %d, stderr %q", at, code, log.String())
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("at %q: it leaves %v (%v)", at, left, err)
		}
	}
}
