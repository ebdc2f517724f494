package mapping

import (
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// loadFormats reads [tables.NAME.format].
func (l *loader) loadFormats(t *table) {
	formats := t.source.Get("format")
	if formats == nil || !l.decoder.table(formats, "format") {
		return
	}
	for _, e := range formats.Entries {
		i, ok := l.column(t, word{e.Key, e.At})
		if !ok {
			continue
		}
		where := "format." + e.Key
		l.decoder.checkKeys(e.Value, where, "bits", "null", "one_of", "min", "else")
		if e.Value.Kind == tomlpos.Table {
			t.formats[i] = l.format(e.Value, where)
		}
	}
}

func (l *loader) format(source *tomlpos.Node, where string) *formatSpec {
	spec := &formatSpec{oneOf: texts(l.decoder.words(source, "one_of", false))}
	for _, w := range l.decoder.words(source, "bits", false) {
		spec.bits = append(spec.bits, string(appendString(nil, w.text)))
	}
	if source.Get("min") != nil {
		least, _ := l.decoder.int(source, "min")
		spec.min = new(int64(least))
	}
	if n := source.Get("null"); n != nil {
		spec.null = l.literal(n, where+".null")
	}
	if n := source.Get("else"); n != nil {
		spec.other = l.literal(n, where+".else")
	}
	switch {
	case len(spec.bits) > 64:
		l.problems.add(source.At, "%s lists %d bits; an integer has at most 64", where, len(spec.bits))
	case spec.bits != nil && (len(spec.oneOf) > 0 || spec.min != nil || spec.null != ""):
		l.problems.add(source.At, "%s: bits cannot be combined with null, one_of or min", where)
	case len(spec.oneOf) > 0 && spec.min != nil:
		l.problems.add(source.At, "%s: one_of cannot be combined with min", where)
	case len(spec.oneOf) > 0 && spec.other == "":
		l.problems.add(source.At, "%s: one_of needs else, the value to write instead of any other", where)
	case spec.min != nil && spec.other == "":
		l.problems.add(source.At, "%s: min needs else, the value to write instead of a smaller one", where)
	case spec.other != "" && len(spec.oneOf) == 0 && spec.min == nil:
		l.problems.add(source.At, "%s: else needs one_of or min", where)
	case spec.bits == nil && len(spec.oneOf) == 0 && spec.min == nil && spec.null == "":
		l.problems.add(source.At, "%s needs bits, null, one_of or min", where)
	}
	return spec
}

// literal converts a TOML scalar or a list of scalars to JSON.
func (l *loader) literal(n *tomlpos.Node, what string) string {
	if n.Kind != tomlpos.List {
		text, ok := scalarJSON(n)
		if !ok {
			l.problems.add(n.At, "%s must be a string, a number, true, false or a list of them", what)
		}
		return text
	}
	texts := make([]string, len(n.Items))
	for i, item := range n.Items {
		var ok bool
		if texts[i], ok = scalarJSON(item); !ok {
			l.problems.add(item.At, "each element of %s must be a string, a number, true or false", what)
		}
	}
	return "[" + strings.Join(texts, ",") + "]"
}

func scalarJSON(n *tomlpos.Node) (text string, ok bool) {
	switch v := n.Scalar.(type) {
	case string:
		return string(appendString(nil, v)), true
	case bool, int64:
		return fmt.Sprint(v), true
	case tomlpos.Raw:
		return string(v), isNumber(string(v))
	}
	return "", false
}
