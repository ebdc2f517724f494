package cdc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTimelineHistory(t *testing.T) {
	t.Parallel()
	got, err := parseTimelineHistory([]byte("1\t0/3000150\tno recovery target specified\n\n# a remark\n2\t1/A0\tbefore 2026-11-25 10:00:00+00\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]TimelineSwitch{{1, 0x3000150}, {2, 0x1000000a0}}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"one\t0/1", "1", "1\tnowhere"} {
		if got, err := parseTimelineHistory([]byte(bad)); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func TestHistoryContains(t *testing.T) {
	t.Parallel()
	history := []TimelineSwitch{{1, 100}, {3, 200}}
	for _, test := range []struct {
		timeline int
		lsn      LSN
		want     bool
	}{{1, 100, true}, {1, 99, true}, {1, 101, false}, {3, 150, true}, {2, 50, false}, {4, 50, false}} {
		if got := HistoryContains(history, test.timeline, test.lsn); got != test.want {
			t.Errorf("timeline %d up to %d outlived: %t", test.timeline, test.lsn, got)
		}
	}
}
