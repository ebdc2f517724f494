package command

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// status is the state of the relay, read from the databases. Its JSON is for scripts: fields are added, not renamed.
type status struct {
	// State is starting, stopped, lost, stuck, disconnected, catching up, streaming or idle. Why gives the cause of a bad one.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	// Phase is new, copying or streaming.
	Phase    outbox.State `json:"phase"`
	Database string       `json:"database,omitempty"`
	SystemID string       `json:"system_id,omitempty"`
	Position string       `json:"position,omitempty"`
	Updated  time.Time    `json:"updated"`
	// LeaderPID is the server process of the leading relay's session; 0 if none leads.
	LeaderPID int         `json:"leader_pid"`
	Slot      *slotStatus `json:"slot"` // nil if the source cannot be reached
	// Problem is why the relay cannot resume from its position, or why the source cannot be reached.
	Problem string `json:"problem,omitempty"`
	// SourceProblems are what should be fixed in the source's tables and publications, each with its remedy.
	SourceProblems []string `json:"source_problems,omitempty"`
	lost           bool     // Problem is that the slot or the server does not match the stored position

	LastEvent        *eventStatus   `json:"last_event"`
	DeliveredThrough int64          `json:"delivered_through"`
	Webhooks         []webhookEntry `json:"webhooks"`
}

type slotStatus struct {
	Name          string `json:"name"`
	Exists        bool   `json:"exists"`
	Active        bool   `json:"active"`
	WALStatus     string `json:"wal_status,omitempty"`
	LagBytes      int64  `json:"lag_bytes"`      // not acknowledged; -1: unknown
	RetainedBytes int64  `json:"retained_bytes"` // WAL retained by the slot; -1: unknown
	SafeBytes     int64  `json:"safe_bytes"`     // may be written before the slot can be lost; -1: unknown or unlimited
	Invalidation  string `json:"invalidation,omitempty"`
	// Cause is why the server retains much WAL; empty if it retains little.
	Cause string `json:"cause,omitempty"`
}

type eventStatus struct {
	ID       int64     `json:"id"`
	Name     string    `json:"name"`
	Occurred time.Time `json:"occurred"`
}

func statusCommand(env *environment) *cobra.Command {
	var ready bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of the relay and of each webhook",
		Long: `Show the state of the relay, its slot and each webhook, according to the databases. With --ready,
ask the relay running on this machine, as a health check does. It exits with 1 if the source
cannot be reached, or if the relay cannot resume from its stored position.`,
		Example: `  iam-relay status
  iam-relay status --ready
  iam-relay status --json | jq .webhooks`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := env.loadConfig()
			if err != nil {
				return err
			}
			if ready {
				return env.askReady(cmd.Context(), cfg.Admin.Listen)
			}
			s, err := readStatus(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if env.json {
				err = writeObject(env.out, s)
			} else {
				err = s.write(env.out)
			}
			if err == nil && s.Problem != "" {
				err = errors.New(s.Problem)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "ask the running relay whether it is ready, and exit with 0 or 1")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (s *status) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("state", "%s", s.State)
	if s.Why != "" {
		line("", "%s", s.Why)
	}
	switch s.Phase {
	case outbox.StateNew:
		line("phase", "nothing read yet")
	case outbox.StateCopying:
		line("phase", "initial copy in progress")
	default:
		line("phase", "streaming from database %s", s.Database)
		line("position", "%s, stored %s", s.Position, s.Updated.Format(time.RFC3339))
	}
	if s.LeaderPID == 0 {
		line("relay", "none is running")
	} else {
		line("relay", "one leads (session %d of the outbox's server)", s.LeaderPID)
	}
	s.writeSlot(line)
	for _, problem := range s.SourceProblems {
		line("source", "%s", problem)
	}
	if s.LastEvent == nil {
		line("events", "none")
	} else {
		line("events", "the last is %d, %s, of %s", s.LastEvent.ID, s.LastEvent.Name, s.LastEvent.Occurred.Format(time.RFC3339))
		if open := s.LastEvent.ID - s.DeliveredThrough; open > 0 {
			line("", "all delivered or retrying up to %d; %s on their way", s.DeliveredThrough, count(open, "event"))
		} else {
			line("", "all delivered or retrying")
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.Webhooks) > 0 {
		fmt.Fprintln(w, "\nwebhook\torigin\ttenant\tstate\tbehind\tretrying\tdead")
		for _, h := range s.Webhooks {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", visible(h.Name), h.Origin, h.tenantText(), h.stateText(), h.Behind, h.Retrying, h.Dead)
		}
	}
	return w.Flush()
}

func (s *status) writeSlot(line func(name, format string, args ...any)) {
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
		line("slot", "%s, %s, %s; lag %s, %s of WAL retained%s", s.Slot.Name, active, status, size(s.Slot.LagBytes), size(s.Slot.RetainedBytes), safe)
		if s.Slot.Cause != "" {
			line("", "%s", s.Slot.Cause)
		}
	}
}
