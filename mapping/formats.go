package mapping

import "fmt"

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
		l.decoder.known(e.value, where, "bits", "null", "one_of", "else")
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
	if n := source.get("null"); n != nil {
		spec.null = l.literal(n, where+".null")
	}
	if n := source.get("else"); n != nil {
		spec.other = l.literal(n, where+".else")
	}
	switch {
	case len(spec.bits) > 64:
		l.problems.add(source.at, "%s names more than 64 bits", where)
	case spec.bits != nil && (len(spec.oneOf) > 0 || spec.null != ""):
		l.problems.add(source.at, "%s: bits stands alone", where)
	case len(spec.oneOf) > 0 && spec.other == "":
		l.problems.add(source.at, "%s: one_of needs else, the value that stands for any other", where)
	case spec.other != "" && len(spec.oneOf) == 0:
		l.problems.add(source.at, "%s: else needs one_of", where)
	case spec.bits == nil && len(spec.oneOf) == 0 && spec.null == "":
		l.problems.add(source.at, "%s needs bits, null or one_of", where)
	}
	return spec
}

// literal turns a TOML scalar into JSON.
func (l *loader) literal(n *node, what string) string {
	switch v := n.scalar.(type) {
	case string:
		return string(appendString(nil, v))
	case bool, int64:
		return fmt.Sprint(v)
	case rawScalar:
		if isNumber(string(v)) {
			return string(v)
		}
	}
	if n.kind == listNode && len(n.items) == 0 {
		return "[]"
	}
	l.problems.add(n.at, "%s must be a string, a number, true, false or []", what)
	return ""
}
