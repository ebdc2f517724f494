package cdc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

func TestCheckPosition(t *testing.T) {
	t.Parallel()
	good := struct {
		server cdc.Server
		slot   cdc.SlotStatus
		stored cdc.Position
	}{
		cdc.Server{SystemID: "1", Timeline: 1, Database: "iam", Current: 300},
		cdc.SlotStatus{Name: "s", Exists: true, Plugin: "pgoutput", Database: "iam", WALStatus: "reserved", Confirmed: 100},
		cdc.Position{SystemID: "1", Timeline: 1, Database: "iam", Slot: "s", LSN: 200},
	}
	for _, test := range []struct {
		want   cdc.Mismatch
		change func(*cdc.Server, *cdc.SlotStatus, *cdc.Position)
		is     error
	}{
		{"", func(*cdc.Server, *cdc.SlotStatus, *cdc.Position) {}, nil},
		{"", func(_ *cdc.Server, s *cdc.SlotStatus, p *cdc.Position) { p.LSN = s.Confirmed }, nil},
		{"", func(s *cdc.Server, _ *cdc.SlotStatus, p *cdc.Position) { p.LSN = s.Current }, nil},
		{cdc.OtherSystem, func(s *cdc.Server, _ *cdc.SlotStatus, _ *cdc.Position) { s.SystemID = "2" }, nil},
		{cdc.OtherTimeline, func(s *cdc.Server, _ *cdc.SlotStatus, _ *cdc.Position) { s.Timeline = 2 }, nil},
		{cdc.OtherDatabase, func(s *cdc.Server, _ *cdc.SlotStatus, _ *cdc.Position) { s.Database = "other" }, nil},
		{cdc.OtherSlot, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { s.Name = "other" }, nil},
		{cdc.SlotMissing, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { *s = cdc.SlotStatus{Name: "s"} }, cdc.ErrSlotMissing},
		{cdc.SlotForeign, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { s.Plugin = "test_decoding" }, nil},
		{cdc.SlotForeign, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { s.Database = "other" }, nil},
		{cdc.SlotLost, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { s.WALStatus = "lost" }, cdc.ErrSlotLost},
		{cdc.SlotLost, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { s.Invalidation = "idle_timeout" }, cdc.ErrSlotLost},
		{cdc.SlotAhead, func(_ *cdc.Server, s *cdc.SlotStatus, _ *cdc.Position) { s.Confirmed = 201 }, nil},
		{cdc.ServerBehind, func(s *cdc.Server, _ *cdc.SlotStatus, _ *cdc.Position) { s.Current = 199 }, nil},
	} {
		t.Run(string(test.want), func(t *testing.T) {
			t.Parallel()
			server, slot, stored := good.server, good.slot, good.stored
			test.change(&server, &slot, &stored)
			err := cdc.CheckPosition(server, slot, stored)
			if test.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			positionErr, ok := errors.AsType[*cdc.PositionError](err)
			if !ok || positionErr.Mismatch != test.want || cdc.IsTransient(err) {
				t.Errorf("got error %v, want a final one of %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
		})
	}
}

func TestInspectAndSlot(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	server, err := cdc.InspectServer(t.Context(), s.conn)
	if err != nil {
		t.Fatal(err)
	}
	if server.Version/10000 != clustertest.Cluster(t).Major || len(server.SystemID) < 15 || server.Timeline != 1 || server.WALLevel != "logical" || server.Current < s.start || server.InRecovery {
		t.Errorf("server %+v", server)
	}
	s.exec(`INSERT INTO users SELECT generate_series(1, 1000)`)
	slot := s.slot()
	if !slot.Exists || slot.Active || slot.ActivePID != 0 || slot.Temporary || slot.Plugin != "pgoutput" || slot.Database != server.Database || slot.Lost() ||
		slot.Confirmed != s.start || slot.Restart > s.start || slot.RetainedBytes < slot.LagBytes || slot.LagBytes < 10_000 || slot.SafeWALSize != -1 {
		t.Errorf("slot %+v", slot)
	}
	if slot.Failover != (server.Version >= 170000) {
		t.Errorf("on version %d, failover is %t", server.Version, slot.Failover)
	}
	stored := cdc.Position{SystemID: server.SystemID, Timeline: server.Timeline, Database: server.Database, Slot: slot.Name, LSN: s.start}
	if err := cdc.CheckPosition(server, slot, stored); err != nil {
		t.Errorf("a new slot and its position do not match: %v", err)
	}
}

func TestIsTransient(t *testing.T) {
	t.Parallel()
	_, dialErr := pgconn.Connect(t.Context(), "postgres://127.0.0.1:1/x?sslmode=disable&connect_timeout=5")
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("something"), false},
		{context.Canceled, false},
		{cdc.ErrStalled, true},
		{cdc.ErrServerShutdown, true},
		{cdc.ErrServerSilent, true},
		{cdc.ErrSpill, true},
		{cdc.ErrSlotActive, true},
		{cdc.ErrSlotMissing, false},
		{cdc.ErrSlotLost, false},
		{cdc.ErrPublicationMissing, false},
		{&cdc.SchemaError{}, false},
		{&cdc.DecodeError{Err: io.ErrUnexpectedEOF}, false},
		{io.ErrUnexpectedEOF, true},
		{dialErr, true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "57P03"}, true},
		{&pgconn.PgError{Code: "53300"}, true},
		{&pgconn.PgError{Code: "53400"}, false},
		{&pgconn.PgError{Code: "08006"}, true},
		{&pgconn.PgError{Code: "28P01"}, false},
		{&pgconn.PgError{Code: "42501"}, false},
		{&pgconn.PgError{Code: ""}, false},
	} {
		err := test.err
		if err != nil {
			err = fmt.Errorf("wrapped: %w", err)
		}
		if got := cdc.IsTransient(err); got != test.want {
			t.Errorf("IsTransient(%v) is %t, want %t", err, got, test.want)
		}
	}
}
