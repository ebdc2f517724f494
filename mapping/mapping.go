// Package mapping turns committed row changes into events, by rules written in TOML.
//
// It is pure: it opens no connections and keeps no state between transactions. [Load] reads and checks the rules,
// [Rules.Tables] lists the tables and columns to read, [Bind] checks the rules against the column types of a database, and
// a [Mapper] maps one transaction after another. The caller provides the rows that are not part of a transaction through
// [Rows]: the mirror as it was just before the transaction.
//
// For each transaction the caller does the following, in this order:
//
//	changes, err = Fold(changes)                 // one net change per row
//	Resolve(&change, mirrored row)               // the old row, the unchanged values, the final operation
//	m.Refs, m.RefsOf                             // which other mirrored rows to fetch
//	t := m.Begin(commit, rows); t.Observe(changes); t.Map(changes, emit); t.Cancellations()
//
// This package only names what callers use. Its parts can be read one by one: language (TOML to checked rules), rules (what
// they say, and how they fit a database), engine (transactions to events), value (PostgreSQL's values as JSON), secret
// (which columns are secrets) and presets.
package mapping

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/engine"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/presets"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

type (
	// Options select the mapping to load.
	Options = language.Options
	// Rules are a loaded mapping.
	Rules = rules.Set
	// Problem is one mistake in a mapping.
	Problem = rules.Problem
	// Error holds all problems of a mapping.
	Error = rules.Error
	// ConditionFailure reports a condition that could not be evaluated for a row.
	ConditionFailure = rules.ConditionFailure
	// Mapper maps the transactions of one database.
	Mapper = engine.Mapper
	// Transaction maps the changes of one commit.
	Transaction = engine.Transaction
	// Commit identifies the transaction that changes belong to.
	Commit = engine.Commit
	// Event is a documented event that a transaction caused.
	Event = engine.Event
	// Delay describes how long an event is delayed, and what cancels it.
	Delay = engine.Delay
	// Rows provides rows that are not part of the transaction.
	Rows = engine.Rows
	// PartialRows is implemented by Rows that may omit children to limit memory.
	PartialRows = engine.PartialRows
	// Decision says why a rule made an event of a changed row, or made none.
	Decision = engine.Decision
	// Ref refers to rows of the mirror that mapping needs.
	Ref = engine.Ref
	// Subscription is a webhook that the tables of the IAM define.
	Subscription = engine.Subscription
	// Folding does the work of Fold for changes that arrive in parts.
	Folding = engine.Folding
	// Lineage follows rows whose keys change through one transaction.
	Lineage = engine.Lineage
	// PresetInfo describes a built-in mapping.
	PresetInfo = presets.Info
)

// ErrSoftDeleted is the error of [Mapper.Subscription] for a row that is marked as deleted.
var ErrSoftDeleted = engine.ErrSoftDeleted

// Load reads a mapping and checks everything that can be checked without the database. If the content of the mapping is not
// valid, the error is an *[Error] with all problems, each with file, line and, for a misspelt name, the nearest known one.
func Load(o Options) (*Rules, error) { return language.Load(o) }

// Bind checks the rules against the tables of a database and returns a mapper for it. The error is an *[Error] with all
// problems.
func Bind(r *Rules, relations []*cdc.Relation) (*Mapper, error) {
	binding, err := r.Bind(relations)
	if err != nil {
		return nil, err
	}
	return engine.New(binding), nil
}

// Fold reduces the changes of a transaction to at most one net change per row; see [engine.Fold].
func Fold(changes []cdc.Change) ([]cdc.Change, error) { return engine.Fold(changes) }

// Resolve completes a folded change with the mirror's row; see [engine.Resolve].
func Resolve(c *cdc.Change, mirrored cdc.Row) bool { return engine.Resolve(c, mirrored) }

// ResolveFrom completes a change that moved a row to another key; see [engine.ResolveFrom].
func ResolveFrom(c *cdc.Change, from cdc.Row) { engine.ResolveFrom(c, from) }

// NewLineage returns a Lineage that keeps rows in the store. The caller closes the store.
func NewLineage(rows *cdc.RowStore) *Lineage { return engine.NewLineage(rows) }

// Presets returns the built-in mappings, ordered by name.
func Presets() []PresetInfo { return presets.All() }

// Preset returns the TOML source of a built-in mapping.
func Preset(name string) ([]byte, error) { return presets.Source(name) }
