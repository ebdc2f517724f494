package engine

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// matchKey links a delayed event with the change that cancels it. It is a hash, because it is stored and must not reveal
// values.
type matchKey [16]byte

func (k matchKey) String() string { return hex.EncodeToString(k[:]) }

func matchKeyOf(r *rules.Rule, row cdc.Row, same []int) matchKey {
	h := sha256.New()
	h.Write([]byte(r.Event.Name))
	for _, column := range same {
		v := rules.ValueAt(row, column)
		h.Write([]byte{0, byte(v.Kind)})
		h.Write([]byte(v.Text))
	}
	return matchKey(h.Sum(nil)[:16])
}

// observeFollower notes the delayed events that a change cancels.
func (t *Transaction) observeFollower(change rowChange) {
	for _, r := range t.m.followers[change.bound.Table.Index] {
		if !r.UnlessFollowed.On[change.op] {
			continue
		}
		if t.follows == nil {
			t.follows = map[matchKey]struct{}{}
		}
		match := matchKeyOf(r, change.row, r.UnlessFollowed.FollowerSame)
		if _, known := t.follows[match]; !known {
			t.follows[match] = struct{}{}
			t.newFollows = append(t.newFollows, match)
		}
	}
}
