package command_test

import (
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
