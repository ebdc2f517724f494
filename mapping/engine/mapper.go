// Package engine applies rules to committed transactions and makes events of them.
package engine

import (
	"bytes"

	"github.com/iam-relay/iam-relay/mapping/rules"
)

// OnConditionFailure sets a function to call when a condition cannot be evaluated for a row. It may be called several times
// for one row.
func (m *Mapper) OnConditionFailure(report func(rules.ConditionFailure)) { m.eval.Failed = report }

// Mapper maps the transactions of one database. Only one goroutine may use it at a time.
type Mapper struct {
	binding *rules.Binding
	eval    rules.Evaluator
	// followers lists, by the table index of the follower, the rules whose events unless_followed may cancel.
	followers [][]*rules.Rule
	// Buffers, reused from change to change.
	differs []bool
	matched []*rules.Rule
	// children are those that an update changed.
	children []*rules.Children
	body     []byte
	item     []byte
	maxBody  int
	decided  func(Decision) // nil: nobody asks
}

// New returns a mapper for the rules of a binding.
func New(b *rules.Binding) *Mapper {
	m := &Mapper{binding: b, maxBody: DefaultMaxBody, followers: make([][]*rules.Rule, len(b.Rules.Mapped))}
	for _, e := range b.Rules.Events {
		for _, r := range e.Rules {
			if r.UnlessFollowed != nil {
				follower := r.UnlessFollowed.Follower.Index
				m.followers[follower] = append(m.followers[follower], r)
			}
		}
	}
	return m
}

// PublicColumns returns the columns that look like secrets and are declared public, as table.column.
func (m *Mapper) PublicColumns() []string { return m.binding.PublicColumns() }

// DefaultMaxBody is the size limit of an event's body, in bytes, unless SetMaxBody sets another.
const DefaultMaxBody = 16 << 20

// SetMaxBody limits the body of an event to a number of bytes. A few small rows can make a very large body, through their
// children and through parents that many of them share. An event whose body would be larger has none.
func (m *Mapper) SetMaxBody(bytes int) { m.maxBody = bytes }

// takeBody returns a body that was built in the mapper's buffer. It gives a large buffer away instead of keeping it.
func (m *Mapper) takeBody(body []byte) []byte {
	if len(body) <= maxKeptBuffer {
		m.body = body
		return bytes.Clone(body)
	}
	m.body = nil
	return body
}

// maxKeptBuffer is the size in bytes up to which a buffer is kept for reuse.
const maxKeptBuffer = 64 << 10
