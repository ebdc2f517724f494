package command_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// running is a relay at work.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of its log; closed when it has ended
}

// start runs the relay and returns when it reads the log. It is stopped with the test at the latest.
func (w *world) start() *running {
	w.t.Helper()
	p := w.launch()
	p.waitFor("streaming the WAL")
	return p
}

func (w *world) launch() *running {
	w.t.Helper()
	return w.begin(exec.Command(binary, "run", "--config", w.config))
}

// begin starts the command that runs a relay.
func (w *world) begin(cmd *exec.Cmd) *running {
	w.t.Helper()
	p := &running{t: w.t, cmd: cmd, lines: make(chan string, 1000)}
	log, err := p.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
		_ = p.cmd.Wait() // How it ends shows in what it prints and does.
	}()
	w.t.Cleanup(p.stop)
	return p
}

func (p *running) waitFor(text string) {
	p.t.Helper()
	timeout := time.After(patience)
	var log strings.Builder
	for {
		select {
		case line, alive := <-p.lines:
			if strings.Contains(line, text) {
				return
			}
			if !alive {
				p.t.Fatalf("the relay ended without %q:\n%s", text, log.String())
			}
			fmt.Fprintln(&log, line)
		case <-timeout:
			p.t.Fatalf("the relay does not say %q:\n%s", text, log.String())
		}
	}
}

// stop asks it to end, and waits.
func (p *running) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // It may have ended.
	for range p.lines {
	}
}

// dropSlot drops the relay's slot, which the server may take a moment to free after the relay has ended.
func (w *world) dropSlot() {
	w.t.Helper()
	w.eventually(`SELECT FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`, w.name)
	w.exec(`SELECT pg_drop_replication_slot($1)`, w.name)
}

// eventually waits until a query that asks for one boolean says yes.
func (w *world) eventually(query string, arguments ...any) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !w.exists(query, arguments...) {
		select {
		case <-tick.C:
		case <-timeout:
			w.t.Fatalf("it does not become true: %s", query)
		}
	}
}

// connect opens one more connection to the world's database.
func (w *world) connect() *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(context.WithoutCancel(w.t.Context())) })
	return conn
}

// freeAddress is an address without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// stream reads from the slot as some other program would, until the returned function is called.
func (w *world) stream() (stop func()) {
	w.t.Helper()
	conn, err := pgconn.Connect(w.t.Context(), w.url+"&replication=database")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := pglogrepl.StartReplication(w.t.Context(), conn, w.name, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + w.name + "'"},
	}); err != nil {
		w.t.Fatal(err)
	}
	return func() { conn.Close(w.t.Context()) }
}
