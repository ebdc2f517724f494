package command_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/command"
)

// The exit codes are a contract with scripts: 0 success, 1 failure, 2 wrong command line or configuration.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("setup")
	away := filepath.Join(t.TempDir(), "away.toml")
	if err := os.WriteFile(away, []byte("[source]\nurl = \"postgres://127.0.0.1:1/iam\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.toml")
	if err := os.WriteFile(wrong, []byte("[source]\nurl = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		arguments string
		code      int
	}{
		{"help", 0},
		{"help webhooks add", 0},
		{"webhooks add --help", 0},
		{"--version", 0},
		{"version", 0},
		{"completion bash", 0},
		{"presets", 0},
		{"check --config " + w.config, 0},
		{"--config " + w.config + " status", 0},
		{"webhooks --config " + w.config, 0},
		{"events --config " + w.config, 0},
		{"deliveries --config " + w.config, 0},
		{"replay list --config " + w.config, 0},
		{"erase --resource x --dry-run --config " + w.config, 0},
		{"deliveries retry --all-dead --dry-run --config " + w.config, 0},
		{"teardown --dry-run --config " + w.config, 0},

		{"run --config " + away, 1},
		{"status --config " + away, 1},
		{"check --config " + away, 1},
		{"check --config " + wrong, 1}, // a failed prerequisite
		{"status --ready --config " + w.config, 2},
		{"reconcile --config " + w.config, 1},
		{"events show 7 --config " + w.config, 1},
		{"webhooks show nosuch --config " + w.config, 1},

		{"", 2},
		{"chekc", 2},
		{"help chekc", 2},
		{"status --jsn", 2},
		{"status --config", 2},
		{"status now", 2},
		{"status --config " + wrong, 2},
		{"status --config nowhere.toml", 2},
		{"status", 2}, // no configuration in the working directory
		{"events --since yesterday --config " + w.config, 2},
		{"erase --resource x --config " + w.config, 2},
		{"erase --resource x --yes --dry-run --config " + w.config, 2},
		{"teardown --config " + w.config, 2},
		{"completion tcsh", 2},
	} {
		if r := run(t, strings.Fields(test.arguments)...); r.code != test.code {
			t.Errorf("%q: exit code %d, want %d\n%s%s", test.arguments, r.code, test.code, r.out, r.err)
		} else if lines := strings.Count(r.err, "iam-relay: "); r.code != 0 && lines != 1 {
			t.Errorf("%q: the error is printed %d times:\n%s", test.arguments, lines, r.err)
		}
	}
}

func TestCommandLine_Mistakes(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{
		"":                          "no command given; run iam-relay help",
		"chekc":                     `unknown command "chekc"; did you mean "check"?`,
		"chekc --json":              `unknown command "chekc"; did you mean "check"?`,
		"webhook":                   `unknown command "webhook"; did you mean "webhooks"?`,
		"zebra":                     `unknown command "zebra"; see iam-relay --help`,
		"help chekc":                `unknown command "chekc"; did you mean "check"?`,
		"help events tial":          `unknown command "tial"; did you mean "events tail"?`,
		"events tial --body":        `unknown command "tial"; did you mean "events tail"?`,
		"replay lst --webhook crm":  `unknown command "lst"; did you mean "replay list"?`,
		"status --jsn":              "unknown flag --jsn; did you mean --json?",
		"status -json":              "unknown flag -json; did you mean --json?",
		"status --zebra":            "unknown flag --zebra; see iam-relay status --help",
		"status --config":           "--config needs a value; see iam-relay status --help",
		"events --limit many":       `--limit: "many" is not a number`,
		"events --since yesterday":  "--since: write a time such as 2026-08-20T13:54:00Z, or an age such as 24h or 90m",
		"webhooks rotate --grace 5": `--grace: "5" is not a duration; write it with its unit, as 90s, 5m or 24h`,
		"check config.toml":         `unexpected argument "config.toml"; name the configuration file with --config`,
		"status":                    "no configuration: neither config.toml nor /etc/iam-relay/config.toml exists; write one with iam-relay init, or name it with --config or IAM_RELAY_CONFIG",
	} {
		run(t, strings.Fields(arguments)...).fails(2, want)
	}
}

// leaves are the commands that do something, by their path.
func leaves(cmd *cobra.Command, visit func(path string, cmd *cobra.Command)) {
	if cmd.HasParent() && cmd.Name() != "help" && cmd.Name() != "completion" {
		visit(strings.TrimPrefix(cmd.CommandPath(), "iam-relay "), cmd)
	}
	for _, c := range cmd.Commands() {
		leaves(c, visit)
	}
}

func TestCommandLine_EveryCommandIsComplete(t *testing.T) {
	t.Parallel()
	destroys := []string{"teardown", "erase", "reconcile", "replay", "replay start", "webhooks remove", "webhooks rotate", "webhooks update", "deliveries retry", "deliveries skip"}
	var seen []string
	leaves(command.Root("test"), func(path string, cmd *cobra.Command) {
		seen = append(seen, path)
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: a summary, a description or an example is missing", path)
		}
		if cmd.Flags().Lookup("json") == nil && path != "run" && path != "mapping" {
			t.Errorf("%s has no --json", path)
		}
		if dry := cmd.Flags().Lookup("dry-run") != nil; dry != slices.Contains(destroys, path) {
			t.Errorf("%s: --dry-run %t", path, dry)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if n := utf8.RuneCountInString(line); n > 85 {
				t.Errorf("%s: a line of %d characters: %s", path, n, line)
			}
		}
		if cmd.Args == nil {
			t.Errorf("%s accepts any arguments", path)
		}
	})
	if len(seen) < 30 {
		t.Errorf("commands %q", seen)
	}
}

func TestCommandLine_Completion(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{
		"che":                         "check",
		"webhooks ro":                 "rotate",
		"deliveries --state ret":      "retrying",
		"deliveries list --class tim": "timeout",
		"webhooks add --ordering st":  "strict",
		"completion z":                "zsh",
		"presets ferr":                "ferriskey",
		"help webh":                   "webhooks",
	} {
		if r := run(t, append([]string{"__complete"}, strings.Fields(arguments)...)...); !strings.Contains("\n"+r.out, "\n"+want) {
			t.Errorf("%q completes to %q, not %q", arguments, r.out, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := run(t, "completion", shell); r.code != 0 || !strings.Contains(r.out, "iam-relay") {
			t.Errorf("%s: exit code %d, %q", shell, r.code, r.err)
		}
	}
}

// The configuration is that of --config, else of IAM_RELAY_CONFIG, else config.toml in the working directory.
func TestCommandLine_Configuration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"flag.toml", "variable.toml", "config.toml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("[source]\nurl = 5\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ variable, flags, want string }{
		{"", "", "config.toml"},
		{"variable.toml", "", "variable.toml"},
		{"variable.toml", "--config flag.toml", "flag.toml"},
		{"", "-c flag.toml", "flag.toml"},
	} {
		for _, arguments := range [][]string{append(strings.Fields(test.flags), "check"), append([]string{"check"}, strings.Fields(test.flags)...)} {
			cmd := exec.CommandContext(t.Context(), binary, arguments...)
			cmd.Dir, cmd.Env = dir, []string{"IAM_RELAY_CONFIG=" + test.variable}
			if out, _ := cmd.Output(); !strings.HasPrefix(string(out), "✗ config       "+test.want+":2: ") {
				t.Errorf("%q with %q reads %s", arguments, test.variable, out)
			}
		}
	}
}

func TestCommandLine_JSON(t *testing.T) {
	t.Parallel()
	w := newOutbox(t)
	for _, arguments := range []string{
		"version", "presets", "presets ferriskey", "init " + filepath.Join(t.TempDir(), "new.toml"), "check", "setup", "setup --print", "status", "events", "deliveries",
		"replay list", "webhooks", "webhooks show w1", "reconcile --dry-run", "erase --resource x --dry-run", "deliveries retry --all-dead --dry-run", "teardown --dry-run", "teardown --yes",
	} {
		r := run(t, append(strings.Fields(arguments), "--json", "--config", w.config)...)
		if r.code != 0 {
			t.Errorf("%q: exit code %d, %s", arguments, r.code, r.err)
		}
		decoder := json.NewDecoder(strings.NewReader(r.out))
		for decoder.More() {
			var v any
			if err := decoder.Decode(&v); err != nil {
				t.Errorf("%q: %v in %s", arguments, err, r.out)
				break
			}
		}
	}
}

// The program links no test double.
func TestProgram_LinksNothingOfIntegration(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/iam-relay/iam-relay").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "iam-relay/integration") {
		t.Errorf("it links:\n%s", out)
	}
}
