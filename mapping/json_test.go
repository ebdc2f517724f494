package mapping

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
)

// FuzzAppendString compares with encoding/json.
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
		if got := string(appendString(nil, s)); got != strings.TrimSuffix(want.String(), "\n") {
			t.Errorf("%q: got %s, want %s", s, got, want.String())
		}
	})
}

// FuzzAppendValue: whatever a column holds, what is written is one JSON value.
func FuzzAppendValue(f *testing.F) {
	for _, s := range []string{
		"t", "-1", "1.5e3", "NaN", "2026-08-20 13:54:00.12+00", "infinity", `{"a": [1]}`, `\xdead`, `{a,"b,\"",{NULL}}`, "[0:1]={1}", "01", "-",
	} {
		for kind := range byteaKind + 1 {
			f.Add(s, uint8(kind), false)
			f.Add(s, uint8(kind), true)
		}
	}
	f.Fuzz(func(t *testing.T, s string, kind uint8, array bool) {
		column := format{columnType: columnType{valueKind(kind % uint8(byteaKind+1)), array}}
		if got := column.appendValue(nil, cdc.TextValue(s)); !json.Valid(got) {
			t.Errorf("%q as kind %d, array %t: %s", s, kind, array, got)
		}
		for _, spec := range []formatSpec{{oneOf: []string{"a", "t", "-1"}, other: "[1]"}, {min: new(int64(0)), other: "null"}, {null: `"x"`}, {bits: []string{`"a"`}}} {
			column.spec = &spec
			if got := column.appendValue(nil, cdc.TextValue(s)); !json.Valid(got) {
				t.Errorf("%q as kind %d, array %t, format %+v: %s", s, kind, array, spec, got)
			}
		}
	})
}

// FuzzLoad: no mapping file makes Load panic, and what it accepts has tables and events.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/load/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "presets/ferriskey.toml") {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		document, err := parseTOML("fuzz.toml", source)
		if err != nil {
			return
		}
		rules, err := load(document, Options{})
		if err == nil && len(rules.Tables()) == 0 {
			t.Error("accepted without tables")
		}
	})
}
