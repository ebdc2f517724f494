// Package mapping turns committed row changes into events, by rules written in TOML.
//
// It is pure: it opens no connection and keeps no state between transactions. [Load] reads and checks the rules,
// [Rules.Tables] says what must be read of the database, [Rules.Bind] checks the rules against the types that the
// database really has, and a [Mapper] maps one transaction after the other. Rows that are not in the transaction come from
// the caller, through [Rows]: the mirror as of just before it.
//
// The order of work for a transaction, which the caller drives:
//
//	changes, err = Fold(changes)                 // one net change per row
//	Resolve(&change, mirrored row)               // the old row, unchanged values, the true operation
//	m.Refs, m.RefsOf                             // which other mirrored rows to fetch
//	t := m.Begin(commit, rows); t.Observe(changes); t.Map(changes, emit); t.Finish(emit); t.Follows()
package mapping
