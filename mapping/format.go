package mapping

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// formatSpec is an entry of [tables.NAME.format].
type formatSpec struct {
	// bits holds the names of an integer's bits as JSON strings, lowest bit first. Bit n without a name is "unknown_n".
	bits []string
	// null is the JSON to write instead of null, or empty.
	null string
	// oneOf lists the values to write as they are; any other value is written as other. In an array, other elements are
	// dropped.
	oneOf []string
	// min is the smallest integer to write as it is, or nil; a smaller one is written as other.
	min *int64
	// other is JSON.
	other string
}

// format writes the values of one column.
type format struct {
	columnType
	spec *formatSpec
}

// appendValue appends a value as JSON. A value that does not have the syntax of its type is written as a string, so that the
// body is always valid JSON.
func (f *format) appendValue(dst []byte, v cdc.Value) []byte {
	if f.spec != nil {
		return f.appendFormatted(dst, v)
	}
	if v.Kind != cdc.Text {
		return append(dst, "null"...)
	}
	return f.appendText(dst, v.Text)
}

func (f *format) appendFormatted(dst []byte, v cdc.Value) []byte {
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
		return f.appendAllowedElements(dst, v.Text)
	case len(s.oneOf) > 0 && !slices.Contains(s.oneOf, v.Text):
		return append(dst, s.other...)
	}
	return f.appendText(dst, v.Text)
}

// appendAllowedElements writes the elements of an array that one_of lists. An array in which one of them occurs twice, or in
// which none occurs, is written as other.
func (f *format) appendAllowedElements(dst []byte, text string) []byte {
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

// appendBits writes the names of the set bits as an array. A set bit without a name is written with its number: a receiver
// would take a missing bit as not set.
func appendBits(dst []byte, text string, names []string) []byte {
	dst = append(dst, '[')
	set, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		set = 0 // null, or not a number
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

// appendUUID writes the first 128 bits of a hash of 64 hexadecimal digits in the form of a uuid, for receivers that expect a
// uuid in the field.
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
