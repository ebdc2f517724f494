package outbox

import (
	"testing"
	"time"
)

// A large transaction with nothing to write must not run into idle_in_transaction_session_timeout.
func TestLarge_PingsWhileIdle(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	large, err := s.leader.Begin(t.Context(), s.leader.NewMirror(nil))
	s.must(err)
	defer large.End(s.leader.NewMirror(nil))
	heard := func() (at time.Time) {
		t.Helper()
		s.must(s.store.pool.QueryRow(t.Context(), `SELECT state_change FROM pg_stat_activity WHERE pid = $1`, s.leader.write.PgConn().PID()).Scan(&at))
		return at
	}
	for _, keep := range map[string]func() error{
		"Ping":             func() error { return large.Ping(t.Context()) },
		"Write of nothing": func() error { return large.Write(t.Context(), &Chunk{}) },
	} {
		before := heard()
		s.must(keep())
		if at := heard(); !at.Equal(before) {
			t.Error("the server is asked again at once")
		}
		large.used = time.Now().Add(-pingPause)
		s.must(keep())
		if !heard().After(before) {
			t.Error("the server has heard nothing")
		}
	}
}
