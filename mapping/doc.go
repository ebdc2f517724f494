// Package mapping turns committed row changes into events, by rules written in TOML.
//
// The package is pure: it opens no connections and keeps no state between transactions. [Load] reads and checks the rules,
// [Rules.Tables] lists the tables and columns to read, [Rules.Bind] checks the rules against the column types of a
// database, and a [Mapper] maps one transaction after another. The caller provides the rows that are not part of a
// transaction through [Rows]: the mirror as it was just before the transaction.
//
// For each transaction the caller does the following, in this order:
//
//	changes, err = Fold(changes)                 // one net change per row
//	Resolve(&change, mirrored row)               // the old row, the unchanged values, the final operation
//	m.Refs, m.RefsOf                             // which other mirrored rows to fetch
//	t := m.Begin(commit, rows); t.Observe(changes); t.Map(changes, emit); t.Cancellations()
package mapping
