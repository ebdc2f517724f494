package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// unlessFollowed delays an event, and drops it if another change follows.
type unlessFollowed struct {
	within time.Duration
	when   *condition // nil: always delay
	same   []int      // columns of the rule's table
	// The change that cancels the event:
	follower     *table
	on           [cdc.Truncate + 1]bool
	followerSame []int // columns of follower, in the order of same
}

func (l *loader) loadUnlessFollowed(r *rule, source *tomlpos.Node) *unlessFollowed {
	l.decoder.checkKeys(source, "unless_followed", "table", "on", "same", "within", "when")
	if source.Kind != tomlpos.Table {
		return nil
	}
	u := &unlessFollowed{follower: r.table, on: l.operations(source, "on"), within: l.decoder.duration(source, "within")}
	if r.event.group > 0 {
		l.problems.add(source.At, "event %s: unless_followed cannot be combined with group", r.event.name)
	}
	if w := l.decoder.word(source, "table"); w.given() {
		if u.follower = l.table(w); u.follower == nil {
			return nil
		}
	}
	if u.follower == r.table && r.sharesOperation(u.on) {
		l.problems.add(source.At, "event %s: unless_followed.on cannot be an operation of the event itself, which would cancel it", r.event.name)
	}
	same := l.decoder.words(source, "same", true)
	if len(same) == 0 {
		l.problems.add(source.At, "unless_followed needs same, the columns that are equal in both rows")
	}
	for _, w := range same {
		own, ok := l.column(r.table, w)
		other := own
		if u.follower != r.table && ok {
			other, ok = l.column(u.follower, w)
		}
		if ok {
			u.same, u.followerSame = append(u.same, own), append(u.followerSame, other)
		}
	}
	u.when = l.condition(l.decoder.word(source, "when"), r.table, false)
	return u
}

// delayCondition returns the condition of unless_followed, or nil.
func (r *rule) delayCondition() *condition {
	if r.unlessFollowed == nil {
		return nil
	}
	return r.unlessFollowed.when
}

// matchKey links a delayed event with the change that cancels it. It is a hash, because it is stored and must not reveal
// values.
type matchKey [16]byte

func (k matchKey) String() string { return hex.EncodeToString(k[:]) }

func (r *rule) matchKeyOf(row cdc.Row, same []int) matchKey {
	h := sha256.New()
	h.Write([]byte(r.event.name))
	for _, column := range same {
		v := valueAt(row, column)
		h.Write([]byte{0, byte(v.Kind)})
		h.Write([]byte(v.Text))
	}
	return matchKey(h.Sum(nil)[:16])
}

// observeFollower notes the delayed events that a change cancels.
func (t *Transaction) observeFollower(change rowChange) {
	for _, r := range t.m.followers[change.bound.table.index] {
		if !r.unlessFollowed.on[change.op] {
			continue
		}
		if t.follows == nil {
			t.follows = map[matchKey]struct{}{}
		}
		match := r.matchKeyOf(change.row, r.unlessFollowed.followerSame)
		if _, known := t.follows[match]; !known {
			t.follows[match] = struct{}{}
			t.newFollows = append(t.newFollows, match)
		}
	}
}
