package ingest

import (
	"context"
	"errors"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// prefetch loads the mirror rows that mapping a batch needs: first the old rows, then, round by round, the parents and children that old
// and new rows refer to. Other rows are fetched one by one on demand. It returns outbox.ErrFull if the rows do not fit into memory.
func (in *Ingester) prefetch(parts [][]cdc.Change) error {
	for _, changes := range parts {
		for i := range changes {
			in.wantOld(&changes[i])
		}
	}
	if err := in.mirror.Load(func(*cdc.Table, cdc.Row) {}); err != nil {
		return err
	}
	for _, changes := range parts {
		for i := range changes {
			c := changes[i]
			if c.Op != cdc.Insert && c.Op != cdc.Truncate {
				if c.Old = in.mirror.Row(c.Relation.Table, c.Key); c.Old == nil {
					continue
				}
			}
			in.Mapper.Refs(&c, in.mirror.Want)
		}
	}
	return in.loadAll()
}

// wantOld requests the old row of a change from the mirror.
func (in *Ingester) wantOld(c *cdc.Change) {
	in.mirror.Want(mapping.Ref{Table: c.Relation.Table, Key: c.Key})
	if c.Moved {
		in.mirror.Want(mapping.Ref{Table: c.Relation.Table, Key: c.OldKey})
	}
}

// loadAll loads the requested rows, and those that they refer to in turn.
func (in *Ingester) loadAll() error {
	for in.mirror.Wanting() {
		err := in.mirror.Load(func(t *cdc.Table, row cdc.Row) { in.Mapper.RefsOf(t, row, in.mirror.Want) })
		if err != nil {
			return err
		}
	}
	return nil
}

// inParts calls work with parts of the changes whose mirror rows fit into memory together: want requests the rows of one change, load
// loads them. If the rows of a single change do not fit, they are fetched on demand.
func (in *Ingester) inParts(ctx context.Context, changes []cdc.Change, want func(*cdc.Change), load func() error, work func([]cdc.Change) error) error {
	size := len(changes)
	for len(changes) > 0 {
		part := changes[:min(size, len(changes))]
		in.mirror.Begin(ctx)
		for i := range part {
			want(&part[i])
		}
		err := load()
		if errors.Is(err, outbox.ErrFull) && len(part) > 1 {
			size = max(1, len(part)/4)
			continue
		}
		if err != nil && !errors.Is(err, outbox.ErrFull) {
			return err
		}
		if err := work(part); err != nil {
			return err
		}
		changes = changes[len(part):]
	}
	return nil
}
