package command_test

import (
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestRun_AskedToEndWhileItStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tx, err := w.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "CREATE SCHEMA "+w.name); err != nil { // the relay waits for what becomes of it
		t.Fatal(err)
	}
	p := w.launch()
	other, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	for waits := false; !waits; {
		if err := other.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitFor("msg=stopped")
	for range p.lines { // until it has ended
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
}
