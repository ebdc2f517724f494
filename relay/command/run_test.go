package command_test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestRun_StoppedWhileItStarts(t *testing.T) {
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

func TestRun_FirstStartShowsItsSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	w.listen(address)
	w.start()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		metrics, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(metrics), "\niam_relay_slot_status{status=\"reserved\"} 1\n") {
			return
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("the slot does not show:\n%s", metrics)
		}
	}
}
