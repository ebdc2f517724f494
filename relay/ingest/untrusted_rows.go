package ingest

import (
	"context"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// untrustedRows are the rows of the mirror while it may lack some, because their tables changed outside the replication stream or are new in the mapping. A row
// that it does not have is read from the snapshot with which these tables are compared, or, until there is one, from the table as it is.
// Without it, an event could miss the parent that leads to its tenant, and reach nobody. It implements mapping.Rows.
type untrustedRows struct {
	*outbox.Mirror
	ctx    context.Context
	source SnapshotRows
	tables []*cdc.Table // nil for all
	absent map[absentRow]struct{}
}

type absentRow struct {
	table *cdc.Table
	key   cdc.Key
}

// maxAbsent bounds the rows that are known to be neither in the mirror nor in the source.
const maxAbsent = 10_000

// Row returns the mirrored row, else the source's, or nil.
func (u *untrustedRows) Row(table *cdc.Table, key cdc.Key) cdc.Row {
	row := u.Mirror.Row(table, key)
	if row != nil || u.tables != nil && !slices.Contains(u.tables, table) {
		return row
	}
	id := absentRow{table, key}
	if _, ok := u.absent[id]; ok {
		return nil
	}
	row, err := u.source.Row(u.ctx, table, key.Texts(table.KeyColumns))
	if err != nil {
		u.Fail(err)
		return nil
	}
	if row == nil {
		if len(u.absent) >= maxAbsent {
			clear(u.absent)
		}
		u.absent[id] = struct{}{}
	}
	return row
}

// verifySource makes sure that a transaction's events have no tenant because its rows lead to none, not because the mirror lacks a row of
// a table that was altered unnoticed. It asks the source once for all transactions that have been committed by now.
func (in *Ingester) verifySource(ctx context.Context, commit cdc.LSN) error {
	if commit < in.verified {
		return nil
	}
	now, err := in.VerifySource(ctx)
	if err != nil {
		return err
	}
	in.verified = now
	return nil
}

// unresolved reports whether any of the events has no tenant.
func unresolved(events []outbox.Event) bool {
	return slices.ContainsFunc(events, func(e outbox.Event) bool { return e.Tenant == "" })
}

// rows returns the rows for mapping a transaction that precedes the reconciliation.
func (in *Ingester) rows(ctx context.Context) mapping.Rows {
	r := in.barrier
	if r == nil || len(r.Read()) == 0 {
		return in.mirror
	}
	return in.untrusted(ctx, r, r.Read())
}

// rowsAt returns the rows for mapping a reconciliation itself. They are those of one snapshot: the mirror lacks the rows of a table that
// changed outside the stream so shortly before that nothing has noticed it.
func (in *Ingester) rowsAt(ctx context.Context, r *Reconciliation) mapping.Rows {
	return in.untrusted(ctx, r, nil)
}

func (in *Ingester) untrusted(ctx context.Context, r *Reconciliation, tables []*cdc.Table) *untrustedRows {
	source := r.Current
	if !r.Pending() {
		source = r.Snapshot
	}
	return &untrustedRows{Mirror: in.mirror, ctx: ctx, source: source, tables: tables, absent: map[absentRow]struct{}{}}
}
