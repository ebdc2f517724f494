package language

import (
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// loadFormats reads [tables.NAME.format].
func (l *loader) loadFormats(t *rules.Table) {
	formats := t.Source.Get("format")
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
			t.Formats[i] = l.format(e.Value, where)
		}
	}
}

func (l *loader) format(source *tomlpos.Node, where string) *value.Spec {
	spec := &value.Spec{OneOf: texts(l.decoder.words(source, "one_of", false))}
	for _, w := range l.decoder.words(source, "bits", false) {
		spec.Bits = append(spec.Bits, string(value.AppendString(nil, w.text)))
	}
	if source.Get("min") != nil {
		least, _ := l.decoder.int(source, "min")
		spec.Min = new(int64(least))
	}
	if n := source.Get("null"); n != nil {
		spec.Null = l.literal(n, where+".null")
	}
	if n := source.Get("else"); n != nil {
		spec.Other = l.literal(n, where+".else")
	}
	switch {
	case len(spec.Bits) > 64:
		l.problems.Add(source.At, "%s lists %d bits; an integer has at most 64", where, len(spec.Bits))
	case spec.Bits != nil && (len(spec.OneOf) > 0 || spec.Min != nil || spec.Null != ""):
		l.problems.Add(source.At, "%s: bits cannot be combined with null, one_of or min", where)
	case len(spec.OneOf) > 0 && spec.Min != nil:
		l.problems.Add(source.At, "%s: one_of cannot be combined with min", where)
	case len(spec.OneOf) > 0 && spec.Other == "":
		l.problems.Add(source.At, "%s: one_of needs else, the value to write instead of any other", where)
	case spec.Min != nil && spec.Other == "":
		l.problems.Add(source.At, "%s: min needs else, the value to write instead of a smaller one", where)
	case spec.Other != "" && len(spec.OneOf) == 0 && spec.Min == nil:
		l.problems.Add(source.At, "%s: else needs one_of or min", where)
	case spec.Bits == nil && len(spec.OneOf) == 0 && spec.Min == nil && spec.Null == "":
		l.problems.Add(source.At, "%s needs bits, null, one_of or min", where)
	}
	return spec
}

// literal converts a TOML scalar or a list of scalars to JSON.
func (l *loader) literal(n *tomlpos.Node, what string) string {
	if n.Kind != tomlpos.List {
		text, ok := scalarJSON(n)
		if !ok {
			l.problems.Add(n.At, "%s must be a string, a number, true, false or a list of them", what)
		}
		return text
	}
	texts := make([]string, len(n.Items))
	for i, item := range n.Items {
		var ok bool
		if texts[i], ok = scalarJSON(item); !ok {
			l.problems.Add(item.At, "each element of %s must be a string, a number, true or false", what)
		}
	}
	return "[" + strings.Join(texts, ",") + "]"
}

func scalarJSON(n *tomlpos.Node) (text string, ok bool) {
	switch v := n.Scalar.(type) {
	case string:
		return string(value.AppendString(nil, v)), true
	case bool, int64:
		return fmt.Sprint(v), true
	case tomlpos.Raw:
		return string(v), value.IsNumber(string(v))
	}
	return "", false
}
