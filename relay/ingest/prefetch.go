package ingest

import (
	"context"
	"errors"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// prefetch loads the mirror rows that a batch will ask for: the old rows of what changed, then, round by round, the parents
// and children that those and the new ones name. What it does not foresee is fetched when it is asked for.
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

func (in *Ingester) wantOld(c *cdc.Change) {
	in.mirror.Want(mapping.Ref{Table: c.Relation.Table, Key: c.Key})
	if c.Moved {
		in.mirror.Want(mapping.Ref{Table: c.Relation.Table, Key: c.OldKey})
	}
}

func (in *Ingester) loadAll() error {
	for in.mirror.Wanting() {
		err := in.mirror.Load(func(t *cdc.Table, row cdc.Row) { in.Mapper.RefsOf(t, row, in.mirror.Want) })
		if err != nil {
			return err
		}
	}
	return nil
}

// inParts works through changes in parts whose rows of the mirror fit into memory together: want names the rows of one change,
// load fetches them. The rows of a single change that do not fit are fetched when they are asked for.
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
