package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
)

func TestInit(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "my.toml")
	run(t, "init", name).done("wrote " + name + "; set source.url in it, then run: iam-relay setup --config " + name + " --url URL-OF-THE-OWNER-OF-THE-TABLES\n")
	if text, err := os.ReadFile(name); err != nil || string(text) != config.Example {
		t.Errorf("it is not the example (%v)", err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := config.Load(name, nil); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "init", name).fails(1, name+" exists; give another name, or overwrite it with --force")
	if text, err := os.ReadFile(name); err != nil || string(text) != "mine" {
		t.Errorf("it was overwritten (%v)", err)
	}
	if r := run(t, "init", "--force", name); r.code != 0 {
		t.Error(r.err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	missing := filepath.Join(t.TempDir(), "missing", "my.toml")
	if r := run(t, "init", missing); r.code != 1 || !strings.HasPrefix(r.err, "iam-relay: write the configuration: ") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	if rest, err := os.ReadDir(filepath.Dir(name)); err != nil || len(rest) != 1 {
		t.Errorf("it leaves %v (%v)", rest, err)
	}
}

// --config is the file that other commands read, so init writes that one.
func TestInit_WritesTheFileThatConfigNames(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "named.toml")
	run(t, "init", "--config", name).done("wrote " + name + "; set source.url in it, then run: iam-relay setup --config " + name + " --url URL-OF-THE-OWNER-OF-THE-TABLES\n")
	if text, err := os.ReadFile(name); err != nil || string(text) != config.Example {
		t.Errorf("it is not the example (%v)", err)
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	if list := run(t, "presets"); list.code != 0 || !strings.HasPrefix(list.out, "ferriskey ") {
		t.Errorf("exit code %d, stdout %q", list.code, list.out)
	}
	preset, err := mapping.Preset("ferriskey")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "presets", "ferriskey").done(string(preset))
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if r := run(t, "version"); r.code != 0 || !strings.HasPrefix(r.out, "iam-relay 1.2.3-test (go1.") {
		t.Errorf("exit code %d, stdout %q", r.code, r.out)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	help := run(t, "help")
	if help.code != 0 || !strings.Contains(help.out, "\n  check ") {
		t.Errorf("exit code %d, stdout %q", help.code, help.out)
	}
	if r := run(t); r.code != 2 || r.err != "iam-relay: no command given; run iam-relay help\n" {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	if r := run(t, "check", "--help"); r.code != 0 || !strings.Contains(r.out, "--endpoints") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	if r := run(t, "check", "--endpoint"); r.code != 2 {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
}
