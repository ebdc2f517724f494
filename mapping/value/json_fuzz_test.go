package value

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// FuzzAppendString compares appendString with encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00\x1f\x7f\b\f\n\r\t\"\\/", "é\u2028\u2029\U0001F600", "\xff\xc3\x28a\xe2\x80", "<>&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := string(AppendString(nil, s)); got != strings.TrimSuffix(want.String(), "\n") {
			t.Errorf("%q: got %s, want %s", s, got, want.String())
		}
	})
}

// FuzzAppendValue checks that any text in a column is written as one JSON value.
func FuzzAppendValue(f *testing.F) {
	for _, s := range []string{
		"t", "-1", "1.5e3", "NaN", "2026-08-20 13:54:00.12+00", "infinity", `{"a": [1]}`, `\xdead`, `{a,"b,\"",{NULL}}`, "[0:1]={1}", "01", "-",
	} {
		for kind := range Bytea + 1 {
			f.Add(s, uint8(kind), false)
			f.Add(s, uint8(kind), true)
		}
	}
	f.Fuzz(func(t *testing.T, s string, kind uint8, array bool) {
		column := Format{Type: Type{Kind(kind % uint8(Bytea+1)), array}}
		if got := column.AppendValue(nil, cdc.TextValue(s)); !json.Valid(got) {
			t.Errorf("%q as kind %d, array %t: %s", s, kind, array, got)
		}
		for _, spec := range []Spec{{OneOf: []string{"a", "t", "-1"}, Other: "[1]"}, {Min: new(int64(0)), Other: "null"}, {Null: `"x"`}, {Bits: []string{`"a"`}}, {Epoch: time.Second}, {Epoch: time.Millisecond, NullIf: []string{"0"}}, {Values: map[string]string{"a": "1"}, Other: "2"}} {
			column.Spec = &spec
			if got := column.AppendValue(nil, cdc.TextValue(s)); !json.Valid(got) {
				t.Errorf("%q as kind %d, array %t, format %+v: %s", s, kind, array, spec, got)
			}
		}
	})
}

// quotedArray converts a result of appendArray back to an array literal, with every element in quotes.
func quotedArray(v any) string {
	list, ok := v.([]any)
	if !ok {
		if v == nil {
			return "NULL"
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.(string)) + `"`
	}
	var parts []string
	for _, item := range list {
		parts = append(parts, quotedArray(item))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// FuzzArray checks that an array has the same value after it is converted back to a literal and read again.
func FuzzArray(f *testing.F) {
	for _, s := range []string{`{}`, `{a,b}`, `{"a b",NULL,"NULL","\"\\"}`, `[0:1]={1,2}`, `{{a},{b}}`, `{{{{{{a}}}}}}`, `{{{{{{{a}}}}}}}`, `{a`, `{"a`, `{a,}`, `{a}b`, `[`, `{\xff}`, `{a\b}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := appendArray(nil, s, Text)
		if !ok {
			return
		}
		var value any
		if err := json.Unmarshal(got, &value); err != nil {
			t.Fatalf("%q: %s: %v", s, got, err)
		}
		again, ok := appendArray(nil, quotedArray(value), Text)
		var second any
		if err := json.Unmarshal(again, &second); !ok || err != nil || !reflect.DeepEqual(value, second) {
			t.Errorf("%q: read as %s, then as %s from %s (%v)", s, got, again, quotedArray(value), err)
		}
	})
}
