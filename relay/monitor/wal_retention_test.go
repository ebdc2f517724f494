package monitor

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
)

const mib = 1 << 20

// retained is a slot without max_slot_wal_keep_size that retains n MiB; limited is one that has so many of 100 MiB left.
func retained(n int64) cdc.SlotStatus {
	return cdc.SlotStatus{Name: "s", Exists: true, WALStatus: "reserved", RetainedBytes: n * mib, SafeWALSize: -1, KeepLimit: -1}
}

func limited(left int64) cdc.SlotStatus {
	return cdc.SlotStatus{Name: "s", Exists: true, WALStatus: "reserved", RetainedBytes: (100 - left) * mib, SafeWALSize: left * mib, KeepLimit: 100 * mib}
}

func with(s cdc.SlotStatus, status string) cdc.SlotStatus { s.WALStatus = status; return s }

func unread(idle time.Duration) cdc.SlotStatus {
	s := limited(90)
	s.Idle, s.IdleLimit = idle, time.Hour
	return s
}

func TestWALRetention_LogsEachStepOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		seen []cdc.SlotStatus
		want string // a letter for each: w warning, e error, i back to normal, - nothing
	}{
		"nothing":             {[]cdc.SlotStatus{limited(90), retained(9), {KeepLimit: -1}}, "---"},
		"without a limit":     {[]cdc.SlotStatus{retained(9), retained(10), retained(12), retained(19), retained(20), retained(39), retained(90)}, "-w--w-w"},
		"swaying":             {[]cdc.SlotStatus{retained(10), retained(9), retained(10), retained(8), retained(10), retained(7), retained(10)}, "w----iw"},
		"with a limit":        {[]cdc.SlotStatus{limited(51), limited(49), limited(30), limited(24), limited(11), limited(9), limited(0)}, "-w-w-e-"},
		"limit, swaying":      {[]cdc.SlotStatus{limited(49), limited(55), limited(49), limited(24), limited(40), limited(20), limited(61), limited(49)}, "w--w--iw"},
		"all at once":         {[]cdc.SlotStatus{limited(90), limited(1), limited(20), limited(90)}, "-e-i"},
		"extended":            {[]cdc.SlotStatus{with(limited(90), "extended"), with(limited(80), "extended"), limited(90)}, "w-i"},
		"unreserved, lost":    {[]cdc.SlotStatus{with(limited(0), "unreserved"), with(limited(0), "lost"), with(limited(0), "lost")}, "ee-"},
		"lost, created again": {[]cdc.SlotStatus{with(retained(0), "lost"), {KeepLimit: -1}, retained(0)}, "e-i"},
		"extended, no limit":  {[]cdc.SlotStatus{with(retained(1), "extended")}, "-"},
		"unread":              {[]cdc.SlotStatus{unread(20 * time.Minute), unread(31 * time.Minute), unread(40 * time.Minute), unread(0), unread(31 * time.Minute)}, "-w--w"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			r := walRetention{log: slog.New(slog.NewTextHandler(&log, nil)), threshold: 10 * mib}
			got := ""
			for _, s := range test.seen {
				log.Reset()
				r.observe(s, func() string { return "of a test" })
				letter := "-"
				for level, of := range map[string]string{"level=WARN": "w", "level=ERROR": "e", "level=INFO": "i"} {
					if strings.Contains(log.String(), level) {
						letter = of
					}
				}
				if strings.Count(log.String(), "\n") > 1 {
					letter = "!"
				}
				got += letter
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhyRetained(t *testing.T) {
	t.Parallel()
	active := func(retained, lag int64) cdc.SlotStatus {
		return cdc.SlotStatus{Exists: true, Active: true, RetainedBytes: retained, LagBytes: lag}
	}
	holder := &cdc.WALHolder{PID: 42, User: "app", Database: "iam", State: "idle in transaction", Age: 90 * time.Minute}
	for name, test := range map[string]struct {
		slot   cdc.SlotStatus
		stuck  string
		holder *cdc.WALHolder
		want   string
	}{
		"stuck":    {active(100, 100), "it waits", holder, "the outbox is stuck: it waits"},
		"unread":   {cdc.SlotStatus{Exists: true, RetainedBytes: 100, LagBytes: 100}, "", holder, "no relay reads from the slot"},
		"slow":     {active(100, 60), "", holder, "the relay is reading, but the outbox is slower"},
		"held":     {active(100, 1), "", holder, "everything is acknowledged, but the transaction of process 42, user app, database iam, open for 1h30m0s, idle in transaction prevents the server from removing WAL: wait for it to end, or run SELECT pg_terminate_backend(42)"},
		"prepared": {active(100, 1), "", &cdc.WALHolder{Prepared: "x", User: "app", Database: "iam"}, `everything is acknowledged, but the prepared transaction "x" of user app in database iam prevents the server from removing WAL: end it with COMMIT PREPARED or ROLLBACK PREPARED`},
		"nothing":  {active(100, 1), "", nil, "everything is acknowledged: the server removes the WAL at its next checkpoint"},
	} {
		if got := WhyRetained(test.slot, test.stuck, test.holder); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %q does not begin with %q", name, got, test.want)
		}
	}
}
