package replication

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

func mismatch(m cdc.Mismatch) error { return &cdc.PositionError{Mismatch: m, Text: "it differs"} }

// A session answers a lost position with a reconciliation unless that could hide a mistake, or take a slot from another reader.
func TestIrreconcilable(t *testing.T) {
	t.Parallel()
	free, read := cdc.SlotStatus{}, cdc.SlotStatus{Active: true, ActivePID: 4711}
	other := errors.New("connection refused")
	for name, test := range map[string]struct {
		lost error
		slot cdc.SlotStatus
		want string // part of the error; empty for none
	}{
		"nothing is lost":                            {nil, free, ""},
		"the slot is missing":                        {mismatch(cdc.SlotMissing), free, ""},
		"the slot has lost its WAL":                  {mismatch(cdc.SlotLost), free, ""},
		"an earlier state of the server":             {mismatch(cdc.ServerBehind), free, ""},
		"an earlier state, the old session lives":    {mismatch(cdc.ServerBehind), read, ""},
		"another server":                             {mismatch(cdc.OtherSystem), free, ""},
		"another server whose slot is being read":    {mismatch(cdc.OtherSystem), read, "process 4711"},
		"a slot that someone else moves":             {mismatch(cdc.SlotAhead), read, "use a separate slot"},
		"a slot that someone else moved":             {mismatch(cdc.SlotAhead), free, ""},
		"a slot of another plugin":                   {mismatch(cdc.SlotForeign), free, "it differs"},
		"a slot of another database":                 {mismatch(cdc.OtherDatabase), free, "it differs"},
		"the outbox belongs to another slot":         {mismatch(cdc.OtherSlot), free, "it differs"},
		"an error that says nothing of the position": {other, free, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := irreconcilable(test.lost, test.slot)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// With source.reconcile = "stop" only an operator's request starts a reconciliation, and the error names the commands.
func TestMayReconcile(t *testing.T) {
	t.Parallel()
	why := errors.New("the slot is missing")
	request := &outbox.Reconciliation{ID: 1}
	for _, test := range []struct {
		setting   string
		requested *outbox.Reconciliation
		allowed   bool
	}{
		{config.ReconcileAuto, nil, true},
		{config.ReconcileAuto, request, true},
		{config.ReconcileStop, nil, false},
		{config.ReconcileStop, request, true},
	} {
		r := New(Config{Settings: settings(test.setting)})
		err := r.mayReconcile(test.requested, why)
		if (err == nil) != test.allowed {
			t.Errorf("%s, requested %t: %v", test.setting, test.requested != nil, err)
		}
		if err != nil && (!errors.Is(err, why) || !strings.Contains(err.Error(), "iam-relay reconcile --dry-run")) {
			t.Errorf("the error is %q", err)
		}
	}
}

// A failure while streaming makes the next session reconcile if this one has not decided already that it cannot. A gap that only the stream
// can notice is kept for it.
func TestCanReconcile(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		setting string
		gap     error // of the session that failed
		err     error
		want    bool
		noted   bool // as the gap of the next session
	}{
		"another history":                   {config.ReconcileAuto, nil, mismatch(cdc.OtherHistory), true, true},
		"another history, twice":            {config.ReconcileAuto, mismatch(cdc.OtherHistory), mismatch(cdc.OtherHistory), true, true},
		"another history, twice, with stop": {config.ReconcileStop, mismatch(cdc.OtherHistory), mismatch(cdc.OtherHistory), false, true},
		"the publication is missing":        {config.ReconcileAuto, nil, fmt.Errorf("stream: %w", cdc.ErrPublicationMissing), true, true},
		"the slot is missing":               {config.ReconcileAuto, nil, cdc.ErrSlotMissing, true, false},
		"the slot is lost":                  {config.ReconcileAuto, nil, cdc.ErrSlotLost, true, false},
		"decided: a foreign slot":           {config.ReconcileAuto, nil, mismatch(cdc.SlotForeign), false, false},
		"decided: a slot that is missing":   {config.ReconcileStop, nil, mismatch(cdc.SlotMissing), false, false},
		"another error":                     {config.ReconcileAuto, nil, errors.New("syntax error"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := New(Config{Settings: settings(test.setting)})
			r.gap = test.gap
			if got := r.canReconcile(test.err); got != test.want {
				t.Errorf("got %t", got)
			}
			if (r.gap != nil) != test.noted {
				t.Errorf("the gap is %v", r.gap)
			}
		})
	}
}

// What ends a session without a failure of the outbox or of the mapping is not counted as one.
func TestEndsSession(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errSchemaChanged, ingest.ErrRestartSession, ErrDone, &verificationError{errors.New("connection reset")}} {
		if !endsSession(fmt.Errorf("transaction 0/1: %w", err)) {
			t.Errorf("%v counts as a failure of ingestion", err)
		}
	}
	if err := errors.New("no space left on device"); endsSession(err) {
		t.Errorf("%v does not count as a failure of ingestion", err)
	}
}

// The temporary slot of a snapshot has another name, which PostgreSQL does not truncate.
func TestCopySlot(t *testing.T) {
	t.Parallel()
	for slot, want := range map[string]string{
		"iam_relay":             "iam_relay_copy",
		strings.Repeat("a", 58): strings.Repeat("a", 58) + "_copy",
		strings.Repeat("a", 63): strings.Repeat("a", 58) + "_copy",
	} {
		if got := copySlot(slot); got != want {
			t.Errorf("copySlot(%q) = %q", slot, got)
		}
	}
}

func settings(reconcile string) *config.Config {
	c := &config.Config{}
	c.Source.Reconcile = reconcile
	return c
}
