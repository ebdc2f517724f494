package cdc_test

import (
	"errors"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
)

// A stream reads the last transaction again without handing it over, and ends with an error if the WAL has something else there.
func TestStream_ChecksTheHistory(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	r := s.stream(s.start, 100)
	s.exec(`INSERT INTO users (id) VALUES (1)`)
	first := r.next()
	s.exec(`INSERT INTO users (id) VALUES (2)`)
	second := r.next()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	s.config.Mark = *second.Mark()
	r = s.stream(second.End, 100)
	r.Ping()
	if came := r.idle(second.End); len(came) > 0 {
		t.Errorf("%d transactions were handed over again", len(came))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = s.stream(second.End, 100)
	s.exec(`INSERT INTO users (id) VALUES (3)`)
	third := r.next()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		mark cdc.HistoryMark
		from cdc.LSN
	}{
		"another transaction at the position": {cdc.HistoryMark{Commit: third.Commit, XID: third.XID + 1, Time: third.Time}, third.End},
		"no transaction at the position":      {cdc.HistoryMark{Commit: third.Commit - 8, XID: third.XID, Time: third.Time}, third.End},
		"a transaction after the last one":    {*second.Mark(), third.End},
		"no transaction so far":               {cdc.HistoryMark{Commit: third.End + 8, XID: third.XID, Time: third.Time}, third.End + 64},
	} {
		t.Log(name)
		s.config.Mark = test.mark
		r := s.stream(test.from, 100)
		s.exec(`INSERT INTO foreign_table SELECT coalesce(max(id), 0) + 1 FROM foreign_table`)
		err := r.ended()
		if positionErr, ok := errors.AsType[*cdc.PositionError](err); !ok || positionErr.Mismatch != cdc.OtherHistory {
			t.Errorf("%s: the stream ended with %v, want a PositionError about the history", name, err)
		}
	}
	for _, tx := range []*cdc.Transaction{first, second, third} {
		if err := tx.Close(); err != nil {
			t.Error(err)
		}
	}
}
