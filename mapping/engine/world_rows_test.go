package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

// row parses "column=value …" and sets these columns in a copy of base or, if base is nil, of a row of default values.
func (w *world) row(r *cdc.Relation, text string, base cdc.Row) cdc.Row {
	row := slices.Clone(base)
	if row == nil {
		row = make(cdc.Row, len(r.Columns))
		for i, c := range r.Columns {
			at := slices.IndexFunc(w.schema[r.Name], func(s mappingtest.Column) bool { return s.Name == c.Name })
			switch {
			case at < 0: // The database does not have the column.
			case w.schema[r.Name][at].Nullable:
				row[i] = cdc.NullValue
			default:
				row[i] = cdc.TextValue(mappingtest.Types[w.schema[r.Name][at].Kind].Plain)
			}
		}
	}
	for name, value := range w.values(text) {
		i := r.Index(name)
		if i < 0 {
			w.t.Fatalf("%s has no mapped column %q", r.Name, name)
		}
		if r.Columns[i].Hash && value.Kind == cdc.Text {
			value.Text = hashed(value.Text)
		}
		row[i] = value
	}
	return row
}

func hashed(uuid string) string {
	raw, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil {
		raw = []byte(uuid)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func (w *world) values(text string) map[string]cdc.Value {
	out := map[string]cdc.Value{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			w.t.Fatalf("column=value expected at %q", text)
		}
		value, rest := firstValue(rest)
		text = rest
		switch {
		case value == "null":
			out[name] = cdc.NullValue
		case value == "~":
			out[name] = cdc.Value{Kind: cdc.Unchanged}
		case strings.HasPrefix(value, `"`):
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				w.t.Fatalf("value %s: %v", value, err)
			}
			out[name] = cdc.TextValue(unquoted)
		default:
			out[name] = cdc.TextValue(long(value))
		}
	}
	return out
}

func firstValue(text string) (first, rest string) {
	if strings.HasPrefix(text, `"`) {
		if quoted, err := strconv.QuotedPrefix(text); err == nil {
			return quoted, text[len(quoted):]
		}
	}
	first, rest, _ = strings.Cut(text, " ")
	return first, rest
}

const uuidStart = "0198c0de-0000-7000-8000-0000000000"

func long(value string) string {
	if digits, ok := strings.CutPrefix(value, "@"); ok {
		return uuidStart + digits
	}
	return value
}

func short(value string) string { return strings.Replace(value, uuidStart, "@", 1) }
