package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// newOracleServers starts the servers; the IAM's has a clock that can be set. With ownClock, so has the relays' host.
func newOracleServers(t *testing.T, ownClock bool) *oracleServers {
	t.Helper()
	source, time := newServerWithClock(t)
	s := &oracleServers{source: source, outbox: newServer(t), program: binary, server: &clockSetting{set: time.jump}}
	if ownClock {
		var own *clock
		s.program, own = buildWithClock(t)
		s.relay = &clockSetting{set: own.jump}
	}
	return s
}

// buildWithClock builds the relay with a time of day that can be set: Go's own clock_offset is added to what the system says.
// Clocks that only measure are left alone.
func buildWithClock(t *testing.T) (program string, c *clock) {
	t.Helper()
	dir := t.TempDir()
	output, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(strings.TrimSpace(string(output)), "src", "time")
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reads) != 1 {
		t.Skip("this version of Go reads the clock in another way")
	}
	replaced := map[string]string{filepath.Join(library, "time.go"): filepath.Join(dir, "time.go")}
	if replaced[filepath.Join(library, "clock_offset.go")], err = filepath.Abs("testdata/clock_offset.go"); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	c = &clock{file: filepath.Join(dir, "offset")}
	relay := filepath.Join(dir, "relay")
	program = filepath.Join(dir, "iam-relay") // which gives the relay its clock
	for name, text := range map[string]string{
		"time.go": strings.Replace(string(text), reads, reads+"\tsec += *clockOffset\n", 1), "overlay.json": string(overlay), "offset": strings.Repeat("\x00", 8),
		"iam-relay": fmt.Sprintf("#!/bin/sh\nCLOCK_FILE='%s' exec '%s' \"$@\"\n", c.file, relay),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	arguments := []string{"build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", relay}
	if raceDetector {
		arguments = append(arguments, "-race")
	}
	if output, err := exec.Command("go", append(arguments, "github.com/iam-relay/iam-relay")...).CombinedOutput(); err != nil {
		t.Fatalf("build the relay with a clock that can be set: %v\n%s", err, output)
	}
	return program, c
}
