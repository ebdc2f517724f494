package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simLarge is a large transaction of an outbox in memory. Nobody else sees its state before it commits.
type simLarge struct {
	leader *simLeader
	state  *simState
	keys   map[cdc.Key]bool // table snapshot_key
}

func (l *simLeader) Begin(_ context.Context, m *outbox.Mirror) (Large, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &simLarge{leader: l}
	err := l.do(func() error {
		t.state = l.state.clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.BeginLarge(t)
	return t, nil
}

func (t *simLarge) do(operation func() error) error {
	t.leader.mu.Lock()
	defer t.leader.mu.Unlock()
	return t.leader.do(operation)
}

func (t *simLarge) End(m *outbox.Mirror) error {
	m.EndLarge()
	return nil
}

func (t *simLarge) Read(ctx context.Context, wanted ...outbox.Wanted) error {
	return t.do(func() error { return t.state.Read(ctx, wanted...) })
}

func (t *simLarge) Page(ctx context.Context, p outbox.MirrorPage, each func(outbox.StoredRow) bool) error {
	return t.do(func() error { return t.state.Page(ctx, p, each) })
}

func (t *simLarge) Write(_ context.Context, chunk *outbox.Chunk) error {
	return t.do(func() error {
		t.state.write(chunk, t.leader.judge.fault)
		return nil
	})
}

func (t *simLarge) Ping(context.Context) error { return nil }

func (t *simLarge) Commit(_ context.Context, end cdc.LSN, lastEvent int64, mark *cdc.HistoryMark) error {
	return t.do(func() error {
		clear(t.state.before)
		t.state.advance(end, lastEvent, mark)
		return t.leader.replace(t.state)
	})
}

func (t *simLarge) CommitAt(ctx context.Context, p cdc.Position, lastEvent int64, mark *cdc.HistoryMark) error {
	t.state.position.Position, t.state.position.Mark = p, cdc.HistoryMark{Floor: t.state.position.Mark.Floor}
	return t.Commit(ctx, p.LSN, lastEvent, mark)
}

func (t *simLarge) ClearSnapshotKeys(context.Context) error {
	t.keys = map[cdc.Key]bool{}
	return nil
}

func (t *simLarge) AddSnapshotKeys(_ context.Context, keys []cdc.Key) error {
	for _, key := range keys {
		t.keys[key] = true
	}
	return nil
}

func (t *simLarge) EachDeleted(_ context.Context, table *cdc.Table, each func(cdc.Key, cdc.Row) error) error {
	for _, stored := range t.state.deleted(table, t.keys) {
		row, err := simStored(table, stored.Fields)
		if err != nil {
			return err
		}
		if err := each(cdc.Key(stored.Key), row); err != nil {
			return err
		}
	}
	return nil
}

// simStored reads a mirrored row, of which all columns are known.
func simStored(table *cdc.Table, fields []byte) (cdc.Row, error) {
	var values map[string]string
	if err := json.Unmarshal(fields, &values); err != nil {
		return nil, err
	}
	row := make(cdc.Row, len(table.Columns))
	for i := range row {
		row[i] = cdc.TextValue(values[table.Columns[i].Name])
	}
	return row, nil
}

func (t *simLarge) RecordMirrored(context.Context, []*cdc.Table, map[*cdc.Table]int, func(*cdc.Table, int) bool, map[string]string) error {
	return nil
}

func (t *simLarge) EndReconciliation(context.Context, *outbox.Reconciliation) error { return nil }

func (t *simLarge) Copy(map[*cdc.Table]int) Copy { return simCopy{t} }

type simCopy struct{ *simLarge }

func (c simCopy) Table(context.Context, *cdc.Table, func(*cdc.Table, int) bool, string, func(func(cdc.Row) error) error) (int, error) {
	return 0, errors.New("the simulation has no new tables")
}

func (c simCopy) Keep(_ context.Context, tables []*cdc.Table) error {
	for key := range c.state.mirror {
		if !slices.ContainsFunc(tables, func(t *cdc.Table) bool { return t.Name == key.Table }) {
			delete(c.state.mirror, key)
		}
	}
	return nil
}
