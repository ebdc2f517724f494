package language

import (
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

func (l *loader) loadUnlessFollowed(r *rules.Rule, source *tomlpos.Node) *rules.UnlessFollowed {
	l.decoder.checkKeys(source, "unless_followed", "table", "on", "same", "within", "when")
	if source.Kind != tomlpos.Table {
		return nil
	}
	u := &rules.UnlessFollowed{Follower: r.Table, On: l.operations(source, "on"), Within: l.decoder.duration(source, "within")}
	if r.Event.Group > 0 {
		l.problems.Add(source.At, "event %s: unless_followed cannot be combined with group", r.Event.Name)
	}
	if w := l.decoder.word(source, "table"); w.given() {
		if u.Follower = l.table(w); u.Follower == nil {
			return nil
		}
	}
	if u.Follower == r.Table && r.SharesOperation(u.On) {
		l.problems.Add(source.At, "event %s: unless_followed.on cannot be an operation of the event itself, which would cancel it", r.Event.Name)
	}
	same := l.decoder.words(source, "same", true)
	if len(same) == 0 {
		l.problems.Add(source.At, "unless_followed needs same, the columns that are equal in both rows")
	}
	for _, w := range same {
		own, ok := l.column(r.Table, w)
		other := own
		if u.Follower != r.Table && ok {
			other, ok = l.column(u.Follower, w)
		}
		if ok {
			u.Same, u.FollowerSame = append(u.Same, own), append(u.FollowerSame, other)
		}
	}
	u.When = l.condition(l.decoder.word(source, "when"), r.Table, false)
	return u
}
