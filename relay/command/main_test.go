package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/relay/command"
)

// patience bounds every step of a test.
const patience = 60 * time.Second

// password is of every role that has one. It must not be printed.
const password = "pw-never-to-be-printed"

// binary is the program as users have it, built once.
var binary string

// program is never called. It is linked in, so that go test knows the code that a cached result depends on.
var program = command.Main

func TestMain(m *testing.M) {
	runtime.KeepAlive(program)
	dir, err := os.MkdirTemp("", "iam-relay-command-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	binary = filepath.Join(dir, "iam-relay")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=1.2.3-test", "-o", binary, "github.com/iam-relay/iam-relay")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, output)
	} else {
		code = clustertest.Run(m)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// world is a FerrisKey database and a configuration for it.
type world struct {
	t        *testing.T
	name     string // of the database, the slot, the publication and the outbox's schema
	url      string // of its superuser
	conn     *pgx.Conn
	config   string // path of the file
	keys     string // path of the file with the keys that seal, if any
	replaces []string
}

// newWorld makes a database on the shared cluster.
func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, clustertest.Cluster(t), clustertest.Database(t))
}

func worldOn(t *testing.T, c *cluster.Cluster, database string) *world {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if err := ferriskey.Create(t.Context(), conn, "public"); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, name: conn.Config().Database, url: database, conn: conn, config: filepath.Join(t.TempDir(), "config.toml")}
	// Longer texts first: the port is part of none of the others.
	w.replaces = []string{w.config, "CONFIG", w.name, "NAME", fmt.Sprint(c.Port()), "PORT", "PostgreSQL " + c.Version, "PostgreSQL VERSION"}
	w.configure(database)
	return w
}

// configure writes a configuration with the source's URL and further lines.
func (w *world) configure(source string, more ...string) {
	w.t.Helper()
	w.write(source, "", "", more...)
}

// amend replaces a text of the configuration.
func (w *world) amend(from, to string) {
	w.t.Helper()
	text, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.config, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// listen makes the relay's admin listener known.
func (w *world) listen(address string) {
	w.t.Helper()
	w.write(w.url, "", address)
}

func (w *world) write(source, outbox, listen string, more ...string) {
	w.t.Helper()
	keys := ""
	if w.keys != "" {
		keys = fmt.Sprintf("key_file = %q\n", w.keys)
	}
	text := fmt.Sprintf("[source]\nurl = %q\nslot = %q\npublication = %q\n[outbox]\nurl = %q\nschema = %q\n%s[admin]\nlisten = %q\n%s\n",
		source, w.name, w.name, outbox, w.name, keys, listen, strings.Join(more, "\n"))
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// as is the database's URL for another role.
func (w *world) as(role, password string) string {
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// role makes a role that goes with the test.
func (w *world) role(attributes string) string {
	w.t.Helper()
	name := w.name + "_role"
	w.exec(fmt.Sprintf("CREATE ROLE %s LOGIN %s PASSWORD '%s'", name, attributes, password))
	w.forget(name)
	return name
}

// forget drops a role when the test ends; before the database goes, what it owns has to.
func (w *world) forget(role string) {
	w.replaces = append([]string{role, "ROLE"}, w.replaces...)
	w.t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, w.url)
		if err != nil {
			w.t.Error(err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, fmt.Sprintf("DROP OWNED BY %s CASCADE; DROP ROLE %s", role, role)); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) exec(sql string, arguments ...any) {
	w.t.Helper()
	if _, err := w.conn.Exec(w.t.Context(), sql, arguments...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) exists(sql string, arguments ...any) bool {
	w.t.Helper()
	var yes bool
	if err := w.conn.QueryRow(w.t.Context(), "SELECT EXISTS ("+sql+")", arguments...).Scan(&yes); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return yes
}

// result is what a run of the program has left.
type result struct {
	t        *testing.T
	code     int
	out, err string
}

// run runs a command with the world's configuration.
func (w *world) run(command string, arguments ...string) result {
	w.t.Helper()
	r := run(w.t, append([]string{command, "--config", w.config}, arguments...)...)
	r.out, r.err = w.plain(r.out), w.plain(r.err)
	return r
}

var (
	processID = regexp.MustCompile(`(process|session) \d+`)
	logLines  = regexp.MustCompile(`(?m)^time=.*\n`)
	amounts   = regexp.MustCompile(`[\d.]+ ([KMG]i)?B\b`)
)

// plain replaces what differs from run to run.
func (w *world) plain(text string) string {
	text = strings.NewReplacer(w.replaces...).Replace(text)
	text = processID.ReplaceAllString(text, "$1 PID")
	return amounts.ReplaceAllString(logLines.ReplaceAllString(text, ""), "SIZE")
}

func run(t *testing.T, arguments ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, arguments...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = &out, &errOut, []string{"HOME=" + t.TempDir()}, t.TempDir()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		t.Fatalf("%v: %v\n%s", arguments, err, errOut.String())
	}
	for _, bad := range []string{password, "panic:", "goroutine 1 [", "runtime error"} {
		if strings.Contains(out.String()+errOut.String(), bad) {
			t.Errorf("%v printed %q", arguments, bad)
		}
	}
	return result{t, cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// done wants the command to succeed and to print that.
func (r result) done(want string) {
	r.t.Helper()
	if r.code != 0 || r.err != "" {
		r.t.Errorf("exit code %d, stderr %q; want success", r.code, r.err)
	}
	r.prints(want)
}

func (r result) prints(want string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.out); diff != "" {
		r.t.Errorf("stdout (-want +got):\n%s", diff)
	}
}

// fails wants the exit code and exactly that message.
func (r result) fails(code int, want string) {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("exit code %d, want %d", r.code, code)
	}
	if diff := cmp.Diff("iam-relay: "+want+"\n", r.err); diff != "" {
		r.t.Errorf("stderr (-want +got):\n%s", diff)
	}
}

// has wants the lines among the printed ones.
func (r result) has(lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+r.out, "\n"+line+"\n") {
			r.t.Errorf("no line %q in:\n%s", line, r.out)
		}
	}
}
