package delivery

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestCursor_Record(t *testing.T) {
	t.Parallel()
	at := func(n int64) *int64 { return &n }
	for name, c := range map[string]struct {
		leads   bool
		drained bool
		prepare func(e *endpoint)
		want    *outbox.CursorUpdate
		owned   bool
		exists  bool
	}{
		"live":                            {true, false, func(*endpoint) {}, nil, true, false},
		"catching up, not stored":         {true, false, func(e *endpoint) { e.fellBehind(5) }, &outbox.CursorUpdate{Cursor: 5}, true, true},
		"catching up, stored":             {true, false, func(e *endpoint) { e.claimed(at(5)) }, nil, true, true},
		"read on":                         {true, false, func(e *endpoint) { e.claimed(at(5)); e.cursor.readFrom = 6 }, &outbox.CursorUpdate{Cursor: 6}, true, true},
		"caught up at the leader":         {true, false, func(e *endpoint) { e.claimed(at(5)); e.caughtUp(true) }, &outbox.CursorUpdate{Live: true}, true, false},
		"caught up before it was stored":  {true, false, func(e *endpoint) { e.fellBehind(5); e.caughtUp(true) }, nil, true, false},
		"ahead of the watermark, drained": {true, true, func(e *endpoint) { e.cursor.exists = true }, &outbox.CursorUpdate{Cursor: testHead}, true, true},
		"caught up at another relay":      {false, false, func(e *endpoint) { e.claimed(at(testHead)) }, &outbox.CursorUpdate{Cursor: testHead, Released: true}, false, false},
		"releasing":                       {false, false, func(e *endpoint) { e.claimed(at(5)); e.overShare() }, &outbox.CursorUpdate{Cursor: 5, Released: true}, false, false},
		"releasing, request in flight":    {false, false, func(e *endpoint) { e.claimed(at(5)); e.overShare(); e.retries = 1 }, nil, true, true},
		"releasing, read in progress":     {false, false, func(e *endpoint) { e.claimed(at(5)); e.overShare(); e.cursor.reading = true }, nil, true, true},
		"half-open at another relay":      {false, false, func(e *endpoint) { e.claimed(at(testHead)); e.probeReady() }, nil, true, true},
		"disabled":                        {false, false, func(e *endpoint) { e.claimed(at(5)); e.disabled(testHead) }, &outbox.CursorUpdate{Cursor: 5, Released: true}, false, false},
		"unowned":                         {false, false, (*endpoint).disowned, nil, false, false},
	} {
		d, e := testEndpoint(t, "")
		if c.leads {
			d.leader = testLeader{}
		}
		d.head, d.drained = testHead, c.drained
		c.prepare(e)
		updates := map[int64]outbox.CursorUpdate{}
		watermark := int64(testHead)
		if c.drained {
			watermark--
		}
		d.recordCursor(e, watermark, updates)
		want := map[int64]outbox.CursorUpdate{}
		if c.want != nil {
			want[e.id] = *c.want
		}
		if diff := cmp.Diff(want, updates); diff != "" || e.owned != c.owned || e.cursor.exists != c.exists {
			t.Errorf("%s: owned is %t, cursor exists is %t, recorded (-want +got):\n%s", name, e.owned, e.cursor.exists, diff)
		}
	}
}

type testLeader struct{ Leader }

func TestCursor_WatermarkStopsAtTheSlowestLiveEndpoint(t *testing.T) {
	t.Parallel()
	d, e := testEndpoint(t, "")
	d.leader, d.head = testLeader{}, testHead
	if got := d.currentWatermark(); got != testHead {
		t.Errorf("watermark %d, want all events", got)
	}
	e.queue.push(&outbox.Event{ID: 8})
	if got := d.currentWatermark(); got != 7 {
		t.Errorf("watermark %d while 8 is queued", got)
	}
	e.cursor.exists = true
	if got := d.currentWatermark(); got != testHead {
		t.Errorf("watermark %d: an endpoint with a cursor does not count", got)
	}
	e.cursor.exists, d.watermark = false, 9
	if got := d.currentWatermark(); got != 9 {
		t.Errorf("the watermark moved back from 9 to %d", got)
	}
}

func TestCursor_RecordForgetsEventsAhead(t *testing.T) {
	t.Parallel()
	d, e := testEndpoint(t, webhook.OrderingResource)
	d.head, e.queue.ahead[5] = testHead, struct{}{}
	d.recordCursor(e, testHead, map[int64]outbox.CursorUpdate{})
	if e.queue.isAhead(5) {
		t.Error("event 5 is remembered as ahead, although all events are done")
	}
}
