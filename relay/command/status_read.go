package command

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/monitor"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

func readStatus(ctx context.Context, cfg *config.Config) (*status, error) {
	store, err := openOutbox(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	s := &status{}
	wait, err := store.IngestWait(ctx)
	if err != nil {
		return nil, err
	}
	if wait != nil && wait.For > time.Second {
		s.Why = wait.String()
	}
	position, err := s.readPosition(ctx, cfg, store)
	if err != nil {
		return nil, err
	}
	last, err := store.LastEvent(ctx)
	if err != nil {
		return nil, err
	}
	if last != nil {
		s.LastEvent = &eventStatus{ID: last.ID, Name: last.Name, Occurred: last.Occurred}
	}
	webhooks, err := readWebhookStates(ctx, cfg, store)
	if err != nil {
		return nil, err
	}
	s.Webhooks = webhooks.entries()
	s.summarize(position)
	return s, nil
}

// positionReads is how often a position that does not match the slot is read before it is reported: a relay that resumes after a
// failover or a reconciliation moves slot and position one after the other.
const positionReads = 3

// readPosition reads the stored position and compares it with the slot. An error of the source is the status's Problem.
func (s *status) readPosition(ctx context.Context, cfg *config.Config, store *outbox.Store) (position outbox.Position, err error) {
	conn, connectErr := connect(ctx, string(cfg.Source.URL))
	if connectErr == nil {
		defer closeConn(ctx, conn)
		if s.SourceProblems, err = sourceProblems(ctx, cfg, conn); err != nil { // slot and position matter nevertheless
			s.SourceProblems = []string{"its tables and publications cannot be inspected: " + err.Error() + "; see iam-relay check"}
		}
	}
	for attempt := 1; ; attempt++ {
		s.Slot, s.Problem, s.lost = nil, "", false
		var problem error
		if connectErr != nil {
			problem = connectErr
			if position, err = store.Position(ctx); err != nil {
				return position, err
			}
		} else if position, problem, err = s.comparePosition(ctx, cfg, conn, store); err != nil {
			return position, err
		}
		if s.LeaderPID, err = store.LeaderPID(ctx); err != nil {
			return position, err
		}
		if problem == nil {
			break
		}
		s.Problem = problem.Error()
		if _, s.lost = errors.AsType[*cdc.PositionError](problem); !s.lost || s.LeaderPID == 0 || attempt == positionReads {
			break
		}
	}
	s.Phase, s.Database, s.SystemID, s.Updated = position.State, position.Database, position.SystemID, position.Updated.UTC()
	s.DeliveredThrough = position.Delivered
	if position.State == outbox.StateStreaming {
		s.Position = position.LSN.String()
	}
	return position, nil
}

// sourceProblems returns what should be fixed in the source, in the words of the relay's log and of /readyz.
func sourceProblems(ctx context.Context, cfg *config.Config, conn *pgx.Conn) ([]string, error) {
	hazards, err := cdc.PublicationHazards(ctx, conn)
	if err != nil {
		return nil, err
	}
	rules, err := relay.Rules(cfg)
	if err != nil { // without the mapping no table is known; the position matters nevertheless
		return append(monitor.SourceProblems(hazards, nil, nil), err.Error()), nil
	}
	catalog, err := cdc.ReadCatalog(ctx, conn, rules.Tables())
	if err == nil {
		err = catalog.ApplyColumnLists(ctx, conn, cfg.Source.Publication)
	}
	if err != nil {
		return nil, err
	}
	return monitor.SourceProblems(hazards, catalog.Problems(), catalog.Withheld()), nil
}

// comparePosition reads the slot first, then the stored position, then the end of the WAL: each follows the next, so that a position
// that advances meanwhile does not seem wrong. err is an error of the outbox, problem one of the source.
func (s *status) comparePosition(ctx context.Context, cfg *config.Config, conn *pgx.Conn, store *outbox.Store) (position outbox.Position, problem, err error) {
	slot, slotErr := cdc.Slot(ctx, conn, cfg.Source.Slot)
	if position, err = store.Position(ctx); err != nil || slotErr != nil {
		return position, slotErr, err
	}
	s.Slot = &slotStatus{
		Name: slot.Name, Exists: slot.Exists, Active: slot.Active, WALStatus: slot.WALStatus,
		LagBytes: slot.LagBytes, RetainedBytes: slot.RetainedBytes, SafeBytes: slot.SafeWALSize, Invalidation: slot.Invalidation,
	}
	if slot.Exists && (slot.HeadroomBelow(2) || slot.RetainedBytes >= cfg.Source.RetainedWarning.Bytes) {
		holder, err := cdc.OldestWALHolder(ctx, conn)
		if err != nil {
			return position, err, nil
		}
		s.Slot.Cause = monitor.WhyRetained(slot, s.Why, holder)
	}
	if position.State != outbox.StateStreaming {
		return position, nil, nil
	}
	server, inspectErr := cdc.InspectServer(ctx, conn)
	if inspectErr != nil {
		return position, inspectErr, nil
	}
	return position, cdc.CheckPosition(server, slot, position.Position), nil
}

const (
	// recent is how long after its last event the source does not count as idle.
	recent = 10 * time.Second
	// farBehind is a lag that a relay at the end of the WAL never has, even between two status updates.
	farBehind = 64 << 20
)

// summarize sets State, as far as the databases show it.
func (s *status) summarize(position outbox.Position) {
	s.State = string(func() admin.State {
		switch {
		case s.lost:
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
			return admin.CatchingUp
		case s.LastEvent != nil && time.Since(s.LastEvent.Occurred) < recent:
			return admin.Streaming
		}
		return admin.Idle
	}())
}
