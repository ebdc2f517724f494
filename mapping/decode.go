package mapping

import (
	"slices"
	"time"
)

// word is a string of a mapping file and where it stands.
type word struct {
	text string
	at   position
}

func (w word) given() bool { return w.text != "" }

// pair is a named word, as in parents = { realm_id = "realms" }.
type pair struct {
	name string
	at   position
	word word
}

// decoder reads typed values out of nodes and notes what does not fit.
type decoder struct {
	problems *problems
}

// known reports keys of a table that have no meaning there.
func (d decoder) known(n *node, where string, keys ...string) {
	if n == nil || !d.table(n, where) {
		return
	}
	for _, e := range n.entries {
		if !slices.Contains(keys, e.key) {
			d.problems.add(e.at, "unknown key %q in %s%s", e.key, where, suggest(e.key, keys))
		}
	}
}

func (d decoder) table(n *node, what string) bool {
	if n.kind != tableNode {
		d.problems.add(n.at, "%s must be a table", what)
		return false
	}
	return true
}

func (d decoder) word(n *node, key string) word {
	v := n.get(key)
	if v == nil {
		return word{at: n.at}
	}
	return d.asWord(v, key)
}

func (d decoder) asWord(v *node, key string) word {
	s, ok := v.scalar.(string)
	if !ok || s == "" {
		d.problems.add(v.at, "%s must be a string that is not empty", key)
		return word{at: v.at}
	}
	return word{text: s, at: v.at}
}

func (d decoder) bool(n *node, key string) (value, given bool) {
	v := n.get(key)
	if v == nil {
		return false, false
	}
	b, ok := v.scalar.(bool)
	if !ok {
		d.problems.add(v.at, "%s must be true or false", key)
	}
	return b, ok
}

func (d decoder) int(n *node, key string) (int, position) {
	v := n.get(key)
	if v == nil {
		return 0, n.at
	}
	i, ok := v.scalar.(int64)
	if !ok {
		d.problems.add(v.at, "%s must be a whole number", key)
	}
	return int(i), v.at
}

// words reads a list of strings; oneAllowed takes a single string for a list of one.
func (d decoder) words(n *node, key string, oneAllowed bool) []word {
	v := n.get(key)
	if v == nil {
		return nil
	}
	if _, ok := v.scalar.(string); ok && oneAllowed {
		if w := d.asWord(v, key); w.given() {
			return []word{w}
		}
		return nil
	}
	if v.kind != listNode {
		d.problems.add(v.at, "%s must be a list of strings", key)
		return nil
	}
	out := make([]word, 0, len(v.items))
	for _, item := range v.items {
		w := d.asWord(item, "each of "+key)
		if !w.given() {
			continue
		}
		if slices.ContainsFunc(out, func(o word) bool { return o.text == w.text }) {
			d.problems.add(w.at, "%q stands twice in %s", w.text, key)
			continue
		}
		out = append(out, w)
	}
	return out
}

// pairs reads a table of strings.
func (d decoder) pairs(n *node, key string) []pair {
	v := n.get(key)
	if v == nil || !d.table(v, key) {
		return nil
	}
	out := make([]pair, 0, len(v.entries))
	for _, e := range v.entries {
		if w := d.asWord(e.value, key+"."+e.key); w.given() {
			out = append(out, pair{name: e.key, at: e.at, word: w})
		}
	}
	return out
}

func (d decoder) duration(n *node, key string) time.Duration {
	w := d.word(n, key)
	if !w.given() {
		if n.get(key) == nil {
			d.problems.add(n.at, "%s is missing; for example %s = \"5s\"", key, key)
		}
		return 0
	}
	v, err := time.ParseDuration(w.text)
	if err != nil || v <= 0 || v > 24*time.Hour {
		d.problems.add(w.at, "%s %q must be a duration of at most 24h, for example \"5s\"", key, w.text)
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
