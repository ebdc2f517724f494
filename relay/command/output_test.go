package command_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A result that could not be written is not a success: scripts rely on the exit code.
func TestOutput_UnwritableFails(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("this system has no file that is always full: %v", err)
	}
	defer full.Close()
	w := newWorld(t)
	w.run("setup")
	for _, command := range []string{"check", "status", "setup", "presets", "events", "deliveries", "version"} {
		arguments := []string{command, "--config", w.config}
		if command == "presets" || command == "version" {
			arguments = arguments[:1]
		}
		cmd := exec.Command(binary, arguments...)
		var errOut strings.Builder
		cmd.Stdout, cmd.Stderr = full, &errOut
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 || strings.Count(errOut.String(), "no space left on device") != 1 {
			t.Errorf("%s: %v, stderr %q", command, err, errOut.String())
		}
	}
}

// With a JSON log, the error that ends the relay is JSON too.
func TestRun_FatalErrorHasTheFormatOfTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE realms DROP COLUMN name`)
	w.configure(w.url, "[log]", `format = "json"`)
	r := run(t, "run", "--config", w.config)
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	var last struct{ Level, Msg, Err string }
	for line := range strings.Lines(r.err) {
		last = struct{ Level, Msg, Err string }{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Errorf("%v in %q", err, line)
		}
	}
	if last.Level != "ERROR" || last.Msg != "stopped by an error" || !strings.Contains(last.Err, "realms") {
		t.Errorf("the last line is %+v", last)
	}
}
