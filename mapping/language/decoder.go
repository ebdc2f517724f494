package language

import (
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// word is a string of a mapping file with its position.
type word struct {
	text string
	at   rules.Position
}

func (w word) given() bool { return w.text != "" }

// pair is an entry of a table of strings, such as realm_id in parents = { realm_id = "realms" }.
type pair struct {
	name string
	at   rules.Position // of the name
	word word
}

// decoder reads typed values from nodes and reports values of the wrong type.
type decoder struct {
	problems *rules.Problems
}

// checkKeys reports keys that have no meaning in a table.
func (d decoder) checkKeys(n *tomlpos.Node, where string, keys ...string) {
	if n == nil || !d.table(n, where) {
		return
	}
	for _, e := range n.Entries {
		if !slices.Contains(keys, e.Key) {
			d.problems.Add(e.At, "unknown key %q in %s%s", e.Key, where, spelling.Suggest(e.Key, keys))
		}
	}
}

func (d decoder) table(n *tomlpos.Node, what string) bool {
	if n.Kind != tomlpos.Table {
		d.problems.Add(n.At, "%s must be a table", what)
		return false
	}
	return true
}

// word reads a string. The word is not given if the key is missing or has a wrong value.
func (d decoder) word(n *tomlpos.Node, key string) word {
	v := n.Get(key)
	if v == nil {
		return word{at: n.At}
	}
	return d.asWord(v, key)
}

func (d decoder) asWord(v *tomlpos.Node, key string) word {
	s, ok := v.Scalar.(string)
	if !ok || s == "" {
		d.problems.Add(v.At, "%s must be a non-empty string", key)
		return word{at: v.At}
	}
	return word{text: s, at: v.At}
}

func (d decoder) bool(n *tomlpos.Node, key string) (value, given bool) {
	v := n.Get(key)
	if v == nil {
		return false, false
	}
	b, ok := v.Scalar.(bool)
	if !ok {
		d.problems.Add(v.At, "%s must be true or false", key)
	}
	return b, ok
}

func (d decoder) int(n *tomlpos.Node, key string) (int, rules.Position) {
	v := n.Get(key)
	if v == nil {
		return 0, n.At
	}
	i, ok := v.Scalar.(int64)
	if !ok {
		d.problems.Add(v.At, "%s must be a whole number", key)
	}
	return int(i), v.At
}

// words reads a list of strings. If oneAllowed, a single string counts as a list of one.
func (d decoder) words(n *tomlpos.Node, key string, oneAllowed bool) []word {
	v := n.Get(key)
	if v == nil {
		return nil
	}
	if _, ok := v.Scalar.(string); ok && oneAllowed {
		if w := d.asWord(v, key); w.given() {
			return []word{w}
		}
		return nil
	}
	if v.Kind != tomlpos.List {
		d.problems.Add(v.At, "%s must be a list of strings", key)
		return nil
	}
	out := make([]word, 0, len(v.Items))
	for _, item := range v.Items {
		w := d.asWord(item, "each element of "+key)
		if !w.given() {
			continue
		}
		if slices.ContainsFunc(out, func(o word) bool { return o.text == w.text }) {
			d.problems.Add(w.at, "%s lists %q twice", key, w.text)
			continue
		}
		out = append(out, w)
	}
	return out
}

// pairs reads a table of strings.
func (d decoder) pairs(n *tomlpos.Node, key string) []pair {
	v := n.Get(key)
	if v == nil || !d.table(v, key) {
		return nil
	}
	out := make([]pair, 0, len(v.Entries))
	for _, e := range v.Entries {
		if w := d.asWord(e.Value, key+"."+e.Key); w.given() {
			out = append(out, pair{name: e.Key, at: e.At, word: w})
		}
	}
	return out
}

// parentEntry is an entry of parents.
type parentEntry struct {
	name       string
	at         rules.Position // of the name
	table      word
	lookupOnly bool
}

// parents reads parents = { column = "table", other = { table = "table", absorb = false } }.
func (d decoder) parents(n *tomlpos.Node) []parentEntry {
	v := n.Get("parents")
	if v == nil || !d.table(v, "parents") {
		return nil
	}
	out := make([]parentEntry, 0, len(v.Entries))
	for _, e := range v.Entries {
		p := parentEntry{name: e.Key, at: e.At}
		if e.Value.Kind == tomlpos.Table {
			d.checkKeys(e.Value, "parents."+e.Key, "table", "absorb")
			p.table = d.word(e.Value, "table")
			if absorb, given := d.bool(e.Value, "absorb"); given {
				p.lookupOnly = !absorb
			}
			if e.Value.Get("table") == nil {
				d.problems.Add(e.At, "parents.%s needs table, for example { table = \"users\", absorb = false }", e.Key)
			}
		} else {
			p.table = d.asWord(e.Value, "parents."+e.Key)
		}
		if p.table.given() {
			out = append(out, p)
		}
	}
	return out
}

func (d decoder) duration(n *tomlpos.Node, key string) time.Duration {
	w := d.word(n, key)
	if !w.given() {
		if n.Get(key) == nil {
			d.problems.Add(n.At, "%s is required, for example %s = \"5s\"", key, key)
		}
		return 0
	}
	v, err := time.ParseDuration(w.text)
	if err != nil || v <= 0 || v > 24*time.Hour {
		d.problems.Add(w.at, "%s = %q must be a duration of at most 24h, for example \"5s\"", key, w.text)
		return 0
	}
	return v
}

func texts(words []word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return out
}
