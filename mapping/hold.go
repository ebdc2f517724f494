package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// hold is unless_followed.
type hold struct {
	within time.Duration
	when   *condition // nil: always held
	same   []int      // columns of the rule's table
	// The change that cancels:
	follower     *table
	on           [cdc.Truncate + 1]bool
	followerSame []int
}

func (l *loader) loadHold(r *rule, source *tomlpos.Node) *hold {
	l.decoder.known(source, "unless_followed", "table", "on", "same", "within", "when")
	if source.Kind != tomlpos.Table {
		return nil
	}
	h := &hold{follower: r.table, on: l.operations(source, "on"), within: l.decoder.duration(source, "within")}
	if r.event.group > 0 {
		l.problems.add(source.At, "event %s: a grouped event cannot wait", r.event.name)
	}
	if w := l.decoder.word(source, "table"); w.given() {
		if h.follower = l.table(w); h.follower == nil {
			return nil
		}
	}
	if h.follower == r.table && r.sharesOperation(h.on) {
		l.problems.add(source.At, "event %s: its own change would count as the one that follows", r.event.name)
	}
	same := l.decoder.words(source, "same", true)
	if len(same) == 0 {
		l.problems.add(source.At, "unless_followed needs same: the columns that both rows have in common")
	}
	for _, w := range same {
		own, ok := l.column(r.table, w)
		other := own
		if h.follower != r.table && ok {
			other, ok = l.column(h.follower, w)
		}
		if ok {
			h.same, h.followerSame = append(h.same, own), append(h.followerSame, other)
		}
	}
	h.when = l.condition(l.decoder.word(source, "when"), r.table, false)
	return h
}

func (r *rule) holdCondition() *condition {
	if r.hold == nil {
		return nil
	}
	return r.hold.when
}

// matchKey is what a cancelling change must have in common with a held event: a hash, so that it tells nothing.
type matchKey [16]byte

func (k matchKey) String() string { return hex.EncodeToString(k[:]) }

func (r *rule) match(row cdc.Row, same []int) matchKey {
	h := sha256.New()
	h.Write([]byte(r.event.name))
	for _, column := range same {
		v := at(row, column)
		h.Write([]byte{0, byte(v.Kind)})
		h.Write([]byte(v.Text))
	}
	return matchKey(h.Sum(nil)[:16])
}
