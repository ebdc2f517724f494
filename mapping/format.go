package mapping

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// formatSpec is what a [tables.X.format] entry asks for. The zero value follows the column's type.
type formatSpec struct {
	// bits are the names of an integer's bits, lowest first, as JSON strings. Bit n without a name is unknown_n.
	bits []string
	// null is the JSON written in place of null.
	null string
	// oneOf are the values that are passed on; any other becomes the JSON in other. Of an array they are the elements, others
	// are dropped.
	oneOf []string
	// min is the least integer that is passed on, nil for any; one below becomes other.
	min   *int64
	other string
}

// format writes one column's values.
type format struct {
	columnType
	spec *formatSpec
}

// appendValue appends a value as JSON. A value that is not what its type promises is written as a string, so that the body
// is valid JSON whatever the database holds.
func (f *format) appendValue(dst []byte, v cdc.Value) []byte {
	if f.spec != nil {
		return f.appendSpecial(dst, v)
	}
	if v.Kind != cdc.Text {
		return append(dst, "null"...)
	}
	return f.appendText(dst, v.Text)
}

func (f *format) appendSpecial(dst []byte, v cdc.Value) []byte {
	s := f.spec
	switch {
	case v.Kind != cdc.Text && s.null != "":
		return append(dst, s.null...)
	case s.bits != nil:
		return appendBits(dst, v.Text, s.bits)
	case v.Kind != cdc.Text && s.other != "":
		return append(dst, s.other...)
	case v.Kind != cdc.Text:
		return append(dst, "null"...)
	case s.min != nil:
		if i, err := strconv.ParseInt(v.Text, 10, 64); err != nil || i < *s.min {
			return append(dst, s.other...)
		}
	case len(s.oneOf) > 0 && f.array:
		return f.appendSome(dst, v.Text)
	case len(s.oneOf) > 0 && !slices.Contains(s.oneOf, v.Text):
		return append(dst, s.other...)
	}
	return f.appendText(dst, v.Text)
}

// appendSome writes those elements of an array that one_of names. An array in which one stands twice, or of which none is
// left, becomes other.
func (f *format) appendSome(dst []byte, text string) []byte {
	list, ok := appendArray(nil, text, textKind)
	var elements []*string
	if !ok || json.Unmarshal(list, &elements) != nil {
		return append(dst, f.spec.other...)
	}
	var kept []string
	for _, e := range elements {
		switch {
		case e == nil || !slices.Contains(f.spec.oneOf, *e):
		case slices.Contains(kept, *e):
			return append(dst, f.spec.other...)
		default:
			kept = append(kept, *e)
		}
	}
	if len(kept) == 0 {
		return append(dst, f.spec.other...)
	}
	dst = append(dst, '[')
	for i, e := range kept {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendScalar(dst, e, f.kind)
	}
	return append(dst, ']')
}

func (f *format) appendText(dst []byte, text string) []byte {
	if f.array {
		if out, ok := appendArray(dst, text, f.kind); ok {
			return out
		}
		return appendString(dst, text)
	}
	return appendScalar(dst, text, f.kind)
}

func appendScalar(dst []byte, text string, kind valueKind) []byte {
	switch kind {
	case boolKind:
		switch text {
		case "t", "true":
			return append(dst, "true"...)
		case "f", "false":
			return append(dst, "false"...)
		}
	case intKind, numberKind:
		if isNumber(text) {
			return append(dst, text...)
		}
	case jsonKind:
		if json.Valid([]byte(text)) {
			return appendCompact(dst, text)
		}
	case timestampKind, timestamptzKind:
		return appendTimestamp(dst, text)
	case byteaKind:
		if digits, ok := strings.CutPrefix(text, `\x`); ok {
			if raw, err := hex.DecodeString(digits); err == nil {
				dst = append(dst, '"')
				dst = base64.StdEncoding.AppendEncode(dst, raw)
				return append(dst, '"')
			}
		}
	}
	return appendString(dst, text)
}

// appendBits writes the names of the set bits as an array. A bit without a name is shown by its number: leaving it out would
// tell a receiver that it is not set.
func appendBits(dst []byte, text string, names []string) []byte {
	dst = append(dst, '[')
	set, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		set = 0 // Null, or no number: no bit is set.
	}
	first := true
	for i := range 64 {
		if set&(1<<i) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if i < len(names) {
			dst = append(dst, names[i]...)
		} else {
			dst = fmt.Appendf(dst, `"unknown_%d"`, i)
		}
	}
	return append(dst, ']')
}

// appendTimestamp turns "2026-08-20 13:54:00.12" or "2026-08-20 13:54:00.12+00" into RFC 3339 with Z and 0, 3 or 6 digits
// of a second, the shortest that is exact, as chrono's serde and FerrisKey write it. What RFC 3339 cannot say (infinity,
// years before 1 or after 9999) stays PostgreSQL's text.
func appendTimestamp(dst []byte, text string) []byte {
	const seconds = len("2026-08-20 13:54:00")
	body, zone := text, ""
	if len(text) > seconds {
		if i := strings.IndexAny(text[seconds:], "+- "); i >= 0 {
			body, zone = text[:seconds+i], text[seconds+i:]
		}
	}
	if !isTimestamp(body) {
		return appendString(dst, text)
	}
	if zone != "" && zone != "+00" {
		t, err := time.Parse("2006-01-02 15:04:05.999999Z07", text)
		if err != nil {
			t, err = time.Parse("2006-01-02 15:04:05.999999Z07:00", text)
		}
		if err != nil {
			return appendString(dst, text)
		}
		dst = append(dst, '"')
		dst = appendTime(dst, t)
		return append(dst, '"')
	}
	dst = append(dst, '"')
	dst = append(dst, body[:10]...)
	dst = append(dst, 'T')
	dst = append(dst, body[11:]...)
	if fraction := len(body) - seconds - 1; fraction > 0 && fraction != 3 && fraction != 6 {
		for range 3 - (fraction % 3) {
			dst = append(dst, '0')
		}
	}
	return append(dst, 'Z', '"')
}

// isTimestamp reports whether text is "2026-08-20 13:54:00", with or without up to six digits of a second.
func isTimestamp(text string) bool {
	const shape = "dddd-dd-dd dd:dd:dd.dddddd"
	if len(text) < len("dddd-dd-dd dd:dd:dd") || len(text) > len(shape) || text[len(text)-1] == '.' {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c != shape[i] && (shape[i] != 'd' || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// appendTime writes t in the same form. PostgreSQL's times have microseconds.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC().Truncate(time.Microsecond)
	layout := "2006-01-02T15:04:05Z"
	switch {
	case t.Nanosecond()%int(time.Millisecond) != 0:
		layout = "2006-01-02T15:04:05.000000Z"
	case t.Nanosecond() != 0:
		layout = "2006-01-02T15:04:05.000Z"
	}
	return t.AppendFormat(dst, layout)
}

// appendUUID writes the first 128 bits of a hash (64 hexadecimal digits) in the form of a uuid, for receivers whose type
// for the field is one.
func appendUUID(dst []byte, v cdc.Value) []byte {
	if v.Kind != cdc.Text {
		return append(dst, "null"...)
	}
	h := v.Text
	if len(h) != 64 {
		return appendString(dst, h)
	}
	dst = append(dst, '"')
	for i, from := range []int{0, 8, 12, 16, 20} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = append(dst, h[from:[]int{8, 12, 16, 20, 32}[i]]...)
	}
	return append(dst, '"')
}
