package language

import (
	"fmt"
	"strings"
	"time"

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
		l.decoder.checkKeys(e.Value, where, "bits", "null", "null_if", "one_of", "values", "epoch", "min", "else")
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
	spec.NullIf = l.nullIf(source, where)
	spec.Values = l.formatValues(source, where)
	if w := l.decoder.word(source, "epoch"); w.given() {
		if spec.Epoch = epochUnits[w.text]; spec.Epoch == 0 {
			l.problems.Add(w.at, "%s.epoch = %q must be \"s\" or \"ms\", the unit of the column", where, w.text)
		}
	}
	l.checkFormat(source, spec, where)
	return spec
}

var epochUnits = map[string]time.Duration{"s": time.Second, "ms": time.Millisecond}

// nullIf reads null_if = ["", " "]. Unlike elsewhere, an empty text has a meaning here.
func (l *loader) nullIf(source *tomlpos.Node, where string) []string {
	n := source.Get("null_if")
	if n == nil {
		return nil
	}
	items := n.Items
	if n.Kind == tomlpos.Scalar {
		items = []*tomlpos.Node{n}
	}
	var out []string
	for _, item := range items {
		text, ok := item.Scalar.(string)
		if !ok {
			l.problems.Add(item.At, "%s.null_if must be a text or a list of texts", where)
			continue
		}
		out = append(out, text)
	}
	return out
}

// formatValues reads values = { text = VALUE }.
func (l *loader) formatValues(source *tomlpos.Node, where string) map[string]string {
	n := source.Get("values")
	if n == nil || !l.decoder.table(n, where+".values") {
		return nil
	}
	values := map[string]string{}
	for _, e := range n.Entries {
		values[e.Key] = l.literal(e.Value, where+".values."+e.Key)
	}
	return values
}

// checkFormat reports settings that cannot be combined.
func (l *loader) checkFormat(source *tomlpos.Node, spec *value.Spec, where string) {
	var choices []string // what decides how a value that is not null is written
	for _, c := range []struct {
		name  string
		given bool
	}{{"bits", spec.Bits != nil}, {"one_of", len(spec.OneOf) > 0}, {"values", spec.Values != nil}, {"epoch", source.Get("epoch") != nil}, {"min", spec.Min != nil}} {
		if c.given {
			choices = append(choices, c.name)
		}
	}
	nulls := spec.Null != "" || len(spec.NullIf) > 0
	switch {
	case len(spec.Bits) > 64:
		l.problems.Add(source.At, "%s lists %d bits; an integer has at most 64", where, len(spec.Bits))
	case spec.Bits != nil && (len(choices) > 1 || nulls):
		l.problems.Add(source.At, "%s: bits cannot be combined with anything else", where)
	case len(choices) > 1:
		l.problems.Add(source.At, "%s: %s cannot be combined with %s", where, choices[0], choices[1])
	case len(spec.OneOf) > 0 && spec.Other == "":
		l.problems.Add(source.At, "%s: one_of needs else, the value to write instead of any other", where)
	case spec.Min != nil && spec.Other == "":
		l.problems.Add(source.At, "%s: min needs else, the value to write instead of a smaller one", where)
	case spec.Other != "" && len(spec.OneOf) == 0 && spec.Min == nil && spec.Values == nil:
		l.problems.Add(source.At, "%s: else needs one_of, values or min", where)
	case len(choices) == 0 && !nulls:
		l.problems.Add(source.At, "%s needs bits, null, null_if, one_of, values, epoch or min", where)
	}
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
