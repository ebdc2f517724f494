package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// status is how the relay stands, as the databases tell it. Its JSON is for scripts: fields are added, not renamed.
type status struct {
	// Standing is in one word how the relay stands: starting, stopped, lost, stuck, disconnected, behind, streaming or idle. Why
	// says what is in the way, if something is.
	Standing string `json:"standing"`
	Why      string `json:"why,omitempty"`

	State    outbox.State `json:"state"`
	Database string       `json:"database,omitempty"`
	SystemID string       `json:"system_id,omitempty"`
	Position string       `json:"position,omitempty"`
	Updated  time.Time    `json:"updated"`
	// LeaderPID is the server process of the leading relay's session; 0 if none leads.
	LeaderPID int         `json:"leader_pid"`
	Slot      *slotStatus `json:"slot"` // nil if the source could not be asked
	// Problem is why the relay cannot go on from its position, or why the source could not be asked.
	Problem string `json:"problem,omitempty"`

	LastEvent        *eventStatus    `json:"last_event"`
	DeliveredThrough int64           `json:"delivered_through"`
	Webhooks         []webhookStatus `json:"webhooks"`
}

type slotStatus struct {
	Name          string `json:"name"`
	Exists        bool   `json:"exists"`
	Active        bool   `json:"active"`
	WALStatus     string `json:"wal_status,omitempty"`
	LagBytes      int64  `json:"lag_bytes"`      // not acknowledged; -1 is unknown
	RetainedBytes int64  `json:"retained_bytes"` // of log, kept for the slot; -1 is unknown
	SafeBytes     int64  `json:"safe_bytes"`     // may be written before the slot can be lost; -1 is unknown or without a limit
	Invalidation  string `json:"invalidation,omitempty"`
	// Kept says why the server keeps log that is acknowledged; empty if it keeps little.
	Kept string `json:"kept,omitempty"`
}

type eventStatus struct {
	ID       int64     `json:"id"`
	Name     string    `json:"name"`
	Occurred time.Time `json:"occurred"`
}

type webhookStatus struct {
	ID     int64  `json:"id"`
	Origin string `json:"origin"`
	Name   string `json:"name"`
	Tenant string `json:"tenant"`
	State  string `json:"state"` // live, behind, disabled or removed
	// DisabledFor is why the relay itself stopped delivering.
	DisabledFor string `json:"disabled_for,omitempty"`
	// Behind is by how many events of the log it has yet to read by itself; they need not all be for it.
	Behind int64 `json:"behind"`
	Parked int   `json:"parked"` // failed deliveries that wait for their next attempt
	Dead   int   `json:"dead"`   // deliveries that were given up
}

func statusCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	asJSON := flags.Bool("json", false, "write JSON")
	ready := flags.Bool("ready", false, "ask the running relay whether it is ready, and end with 0 or 1")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		cfg, err := config.Load(*path, env.environ)
		if err != nil {
			return err
		}
		if *ready {
			return askReady(ctx, cfg.Admin.Listen, env.out)
		}
		s, err := readStatus(ctx, cfg)
		if err != nil {
			return err
		}
		if *asJSON {
			encoder := json.NewEncoder(env.out)
			encoder.SetIndent("", "  ")
			err = encoder.Encode(s)
		} else {
			err = s.write(env.out)
		}
		if err == nil && s.Problem != "" {
			err = errors.New(s.Problem)
		}
		return err
	}
}

func readStatus(ctx context.Context, cfg *config.Config) (*status, error) {
	store, err := openOutbox(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	position, err := store.Position(ctx)
	if err != nil {
		return nil, err
	}
	s := &status{
		State: position.State, Database: position.Database, SystemID: position.SystemID, Updated: position.Updated.UTC(),
		DeliveredThrough: position.Delivered, Webhooks: []webhookStatus{},
	}
	if position.State == outbox.StateStreaming {
		s.Position = position.LSN.String()
	}
	if s.LeaderPID, err = store.LeaderPID(ctx); err != nil {
		return nil, err
	}
	last, err := store.LastEvent(ctx)
	if err != nil {
		return nil, err
	}
	if last != nil {
		s.LastEvent = &eventStatus{ID: last.ID, Name: last.Name, Occurred: last.Occurred}
	}
	if err := s.readWebhooks(ctx, store, position.LastEvent); err != nil {
		return nil, err
	}
	wait, err := store.IngestWait(ctx)
	if err != nil {
		return nil, err
	}
	if wait != nil && wait.For > time.Second {
		s.Why = wait.String()
	}
	if err := s.readSlot(ctx, cfg, position); err != nil {
		s.Problem = err.Error()
	}
	s.stand(position)
	return s, nil
}

func (s *status) readWebhooks(ctx context.Context, store *outbox.Store, lastEvent int64) error {
	webhooks, err := store.LoadWebhooks(ctx)
	if err != nil {
		return err
	}
	parked, err := store.ParkedCounts(ctx)
	if err != nil {
		return err
	}
	for i := range webhooks {
		w := &webhooks[i]
		one := webhookStatus{
			ID: w.ID, Origin: w.Origin, Name: w.Name, Tenant: w.Tenant, State: "live", DisabledFor: w.DisabledFor,
			Parked: parked[w.ID].Waiting, Dead: parked[w.ID].Dead,
		}
		if one.Name == "" {
			one.Name = w.Key
		}
		if w.Cursor != nil {
			one.State, one.Behind = "behind", lastEvent-*w.Cursor
		}
		switch {
		case w.RemovedAfter != nil:
			one.State = "removed"
		case !w.Enabled:
			one.State = "disabled"
		}
		s.Webhooks = append(s.Webhooks, one)
	}
	return nil
}

// readSlot asks the source's server.
func (s *status) readSlot(ctx context.Context, cfg *config.Config, position outbox.Position) error {
	conn, err := connect(ctx, string(cfg.Source.URL))
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	slot, err := cdc.Slot(ctx, conn, cfg.Source.Slot)
	if err != nil {
		return err
	}
	s.Slot = &slotStatus{
		Name: slot.Name, Exists: slot.Exists, Active: slot.Active, WALStatus: slot.WALStatus,
		LagBytes: slot.LagBytes, RetainedBytes: slot.RetainedBytes, SafeBytes: slot.SafeWALSize, Invalidation: slot.Invalidation,
	}
	if slot.Exists && (slot.Left(2) || slot.RetainedBytes >= cfg.Source.RetainedWarning.Bytes) {
		holder, err := cdc.OldestHolder(ctx, conn)
		if err != nil {
			return err
		}
		s.Slot.Kept = relay.WhyKept(slot, s.Why, holder)
	}
	if position.State != outbox.StateStreaming {
		return nil
	}
	server, err := cdc.Inspect(ctx, conn)
	if err != nil {
		return err
	}
	return cdc.CheckPosition(server, slot, position.Position)
}

const (
	// recent is for how long after its last event the source is not called idle.
	recent = 10 * time.Second
	// farBehind is a lag that no relay has which is at the end of the log, and that its status updates do not explain.
	farBehind = 64 << 20
)

// stand says in a word how the relay stands, as far as the databases can tell.
func (s *status) stand(position outbox.Position) {
	s.Standing = string(func() admin.Standing {
		switch {
		case position.State == outbox.StateStreaming && s.Slot != nil && s.Problem != "":
			return admin.Lost
		case s.Why != "":
			return admin.Stuck
		case s.LeaderPID == 0:
			return "stopped"
		case position.State != outbox.StateStreaming:
			return admin.Starting
		case s.Slot == nil || !s.Slot.Active:
			return admin.Disconnected
		case s.Slot.LagBytes > farBehind:
			return admin.Behind
		case s.LastEvent != nil && time.Since(s.LastEvent.Occurred) < recent:
			return admin.Streaming
		}
		return admin.Idle
	}())
}

func (s *status) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	switch s.State {
	case outbox.StateNew:
		line("state", "nothing was read yet")
	case outbox.StateCopying:
		line("state", "the first copy has begun and not ended")
	default:
		line("state", "streaming from database %s", s.Database)
		line("position", "%s, stored %s", s.Position, s.Updated.Format(time.RFC3339))
	}
	line("standing", "%s", s.Standing)
	if s.Why != "" {
		line("", "%s", s.Why)
	}
	if s.LeaderPID == 0 {
		line("relay", "none is running")
	} else {
		line("relay", "one leads (session %d of the outbox's server)", s.LeaderPID)
	}
	switch {
	case s.Slot == nil:
	case !s.Slot.Exists:
		line("slot", "%s does not exist", s.Slot.Name)
	default:
		active := "not in use"
		if s.Slot.Active {
			active = "in use"
		}
		status := s.Slot.WALStatus
		if s.Slot.Invalidation != "" {
			status += " (" + s.Slot.Invalidation + ")"
		}
		safe := ""
		if s.Slot.SafeBytes >= 0 {
			safe = ", safe for another " + size(s.Slot.SafeBytes)
		}
		line("slot", "%s, %s, %s; lag %s, %s of log kept for it%s", s.Slot.Name, active, status, size(s.Slot.LagBytes), size(s.Slot.RetainedBytes), safe)
		if s.Slot.Kept != "" {
			line("", "%s", s.Slot.Kept)
		}
	}
	if s.LastEvent == nil {
		line("events", "none")
	} else {
		line("events", "the last is %d, %s, of %s; delivered through %d", s.LastEvent.ID, s.LastEvent.Name, s.LastEvent.Occurred.Format(time.RFC3339), s.DeliveredThrough)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.Webhooks) > 0 {
		fmt.Fprintln(w, "\nwebhook\torigin\ttenant\tstate\tbehind\tparked\tdead")
		for _, h := range s.Webhooks {
			state := h.State
			if h.DisabledFor != "" {
				state += " (" + visible(h.DisabledFor) + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", visible(h.Name), h.Origin, visible(h.Tenant), state, h.Behind, h.Parked, h.Dead)
		}
	}
	return w.Flush()
}
