package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// untangle makes the changes of each key independent of those of other keys, so that the transaction can be folded part by part: a TRUNCATE
// becomes a deletion of every mirrored row of its table, and a row whose key changes carries the result of its earlier changes.
func (in *Ingester) untangle(ctx context.Context, tx *cdc.Transaction) (_ *cdc.Transaction, err error) {
	if !tx.Truncates() && !tx.Moves() {
		return tx, nil
	}
	rows, spool := cdc.NewRowStore(in.SpillDir, in.SpillBytes), cdc.NewSpool(in.SpillDir, in.SpillBytes)
	defer func() {
		if err = errors.Join(err, rows.Close()); err != nil {
			err = errors.Join(fmt.Errorf("transaction %s: %w", tx.Commit, err), spool.Close())
		}
	}()
	lineage := mapping.NewLineage(rows)
	if tx.Moves() {
		for c, err := range tx.All() {
			if err != nil {
				return nil, err
			}
			lineage.Expect(&c)
		}
	}
	for c, err := range tx.All() {
		if err != nil {
			return nil, err
		}
		if err := errors.Join(lineage.Follow(&c), spool.Add(c)); err != nil {
			return nil, err
		}
		if c.Op == cdc.Truncate {
			if err := in.expand(ctx, c, spool); err != nil {
				return nil, err
			}
		}
	}
	untangled, err := spool.Transaction()
	if err != nil {
		return nil, err
	}
	untangled.Commit, untangled.End, untangled.Time = tx.Commit, tx.End, tx.Time
	return untangled, nil
}

// expand adds a deletion of each mirrored row that a TRUNCATE has removed, in the order of the keys. The Truncate itself stays, for rows that
// the same transaction inserted before it.
func (in *Ingester) expand(ctx context.Context, truncate cdc.Change, spool *cdc.Spool) error {
	deletion := cdc.Change{Seq: truncate.Seq, Op: cdc.Delete, Relation: truncate.Relation}
	return in.mirror.EachKey(ctx, truncate.Relation.Table, func(key cdc.Key) error {
		deletion.Sub++
		deletion.Key = key
		return spool.Add(deletion)
	})
}
