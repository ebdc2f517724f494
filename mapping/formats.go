package mapping

import (
	"fmt"
	"strings"
)

// loadFormats reads [tables.X.format].
func (l *loader) loadFormats(t *table) {
	formats := t.source.get("format")
	if formats == nil || !l.decoder.table(formats, "format") {
		return
	}
	for _, e := range formats.entries {
		i, ok := l.column(t, word{e.key, e.at})
		if !ok {
			continue
		}
		where := "format." + e.key
		l.decoder.known(e.value, where, "bits", "null", "one_of", "min", "else")
		if e.value.kind == tableNode {
			t.formats[i] = l.format(e.value, where)
		}
	}
}

func (l *loader) format(source *node, where string) *formatSpec {
	spec := &formatSpec{oneOf: texts(l.decoder.words(source, "one_of", false))}
	for _, w := range l.decoder.words(source, "bits", false) {
		spec.bits = append(spec.bits, string(appendString(nil, w.text)))
	}
	if source.get("min") != nil {
		least, _ := l.decoder.int(source, "min")
		spec.min = new(int64(least))
	}
	if n := source.get("null"); n != nil {
		spec.null = l.literal(n, where+".null")
	}
	if n := source.get("else"); n != nil {
		spec.other = l.literal(n, where+".else")
	}
	switch {
	case len(spec.bits) > 64:
		l.problems.add(source.at, "%s names more than 64 bits", where)
	case spec.bits != nil && (len(spec.oneOf) > 0 || spec.min != nil || spec.null != ""):
		l.problems.add(source.at, "%s: bits stands alone", where)
	case len(spec.oneOf) > 0 && spec.min != nil:
		l.problems.add(source.at, "%s: one_of and min exclude each other", where)
	case len(spec.oneOf) > 0 && spec.other == "":
		l.problems.add(source.at, "%s: one_of needs else, the value that stands for any other", where)
	case spec.min != nil && spec.other == "":
		l.problems.add(source.at, "%s: min needs else, the value that stands for any that is less", where)
	case spec.other != "" && len(spec.oneOf) == 0 && spec.min == nil:
		l.problems.add(source.at, "%s: else needs one_of or min", where)
	case spec.bits == nil && len(spec.oneOf) == 0 && spec.min == nil && spec.null == "":
		l.problems.add(source.at, "%s needs bits, null, one_of or min", where)
	}
	return spec
}

// literal turns a TOML scalar, or a list of them, into JSON.
func (l *loader) literal(n *node, what string) string {
	if n.kind != listNode {
		text, ok := scalarJSON(n)
		if !ok {
			l.problems.add(n.at, "%s must be a string, a number, true, false or a list of them", what)
		}
		return text
	}
	texts := make([]string, len(n.items))
	for i, item := range n.items {
		var ok bool
		if texts[i], ok = scalarJSON(item); !ok {
			l.problems.add(item.at, "each of %s must be a string, a number, true or false", what)
		}
	}
	return "[" + strings.Join(texts, ",") + "]"
}

func scalarJSON(n *node) (text string, ok bool) {
	switch v := n.scalar.(type) {
	case string:
		return string(appendString(nil, v)), true
	case bool, int64:
		return fmt.Sprint(v), true
	case rawScalar:
		return string(v), isNumber(string(v))
	}
	return "", false
}
