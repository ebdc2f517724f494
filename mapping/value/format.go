// Package value writes PostgreSQL's values as JSON.
package value

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

// Mismatch reports why no value of the column's type could satisfy the format, or "".
func (s *Spec) Mismatch(column Type) string {
	integer := Type{Kind: Int}
	switch {
	case s.Bits != nil && column != integer:
		return "has bits, but the column is not an integer"
	case s.Min != nil && column != integer:
		return "has min, but the column is not an integer"
	case s.Epoch != 0 && column != integer:
		return "has epoch, but the column is not an integer"
	case s.Values != nil && column.Array:
		return "has values, but the column is an array"
	case len(s.OneOf) > 0 && column.Kind != Text && column.Kind != Int:
		return "has one_of, but the column is neither text nor integer"
	}
	return ""
}

// Spec is an entry of [tables.NAME.format].
type Spec struct {
	// Bits holds the names of an integer's bits as JSON strings, lowest bit first. Bit n without a name is "unknown_n".
	Bits []string
	// Null is the JSON to write instead of null, or empty.
	Null string
	// OneOf lists the values to write as they are; any other value is written as other. In an array, other elements are
	// dropped.
	OneOf []string
	// Min is the smallest integer to write as it is, or nil; a smaller one is written as other.
	Min *int64
	// Other is JSON.
	Other string
	// NullIf lists texts that count as null.
	NullIf []string
	// Epoch is the unit of an integer that counts from 1970 and is written as a time; 0 for other values.
	Epoch time.Duration
	// Values holds, by text, the JSON to write instead; any other value is written as other if that is set, else as it is.
	Values map[string]string
}

// Format writes the values of one column.
type Format struct {
	Type
	Spec *Spec
}

// AppendValue appends a value as JSON. A value that does not have the syntax of its type is written as a string, so that the
// body is always valid JSON.
func (f *Format) AppendValue(dst []byte, v cdc.Value) []byte {
	if f.Spec != nil {
		return f.appendFormatted(dst, v)
	}
	if v.Kind != cdc.Text {
		return append(dst, "null"...)
	}
	return f.appendText(dst, v.Text)
}

func (f *Format) appendFormatted(dst []byte, v cdc.Value) []byte {
	s := f.Spec
	if v.Kind == cdc.Text && slices.Contains(s.NullIf, v.Text) {
		v = cdc.NullValue
	}
	switch {
	case v.Kind != cdc.Text && s.Null != "":
		return append(dst, s.Null...)
	case s.Bits != nil:
		return appendBits(dst, v.Text, s.Bits)
	case v.Kind != cdc.Text && s.Other != "":
		return append(dst, s.Other...)
	case v.Kind != cdc.Text:
		return append(dst, "null"...)
	case s.Epoch != 0:
		return f.appendEpoch(dst, v.Text)
	case s.Values != nil:
		if known, ok := s.Values[v.Text]; ok {
			return append(dst, known...)
		}
		if s.Other != "" {
			return append(dst, s.Other...)
		}
	case s.Min != nil:
		if i, err := strconv.ParseInt(v.Text, 10, 64); err != nil || i < *s.Min {
			return append(dst, s.Other...)
		}
	case len(s.OneOf) > 0 && f.Array:
		return f.appendAllowedElements(dst, v.Text)
	case len(s.OneOf) > 0 && !slices.Contains(s.OneOf, v.Text):
		return append(dst, s.Other...)
	}
	return f.appendText(dst, v.Text)
}

// firstSecond and endSecond, counted from 1970, enclose the years 1 to 9999, which RFC 3339 has.
const firstSecond, endSecond = -62135596800, 253402300800

// appendEpoch writes a count of units since 1970 as a time. A count outside the years that RFC 3339 has remains a number.
func (f *Format) appendEpoch(dst []byte, text string) []byte {
	n, err := strconv.ParseInt(text, 10, 64)
	t, perSecond := time.Unix(n, 0), int64(1)
	if f.Spec.Epoch == time.Millisecond {
		t, perSecond = time.UnixMilli(n), 1000
	}
	if err != nil || n < firstSecond*perSecond || n >= endSecond*perSecond {
		return f.appendText(dst, text)
	}
	return append(AppendTime(append(dst, '"'), t), '"')
}

// appendAllowedElements writes the elements of an array that one_of lists. An array in which one of them occurs twice, or in
// which none occurs, is written as other.
func (f *Format) appendAllowedElements(dst []byte, text string) []byte {
	list, ok := appendArray(nil, text, Text)
	var elements []*string
	if !ok || json.Unmarshal(list, &elements) != nil {
		return append(dst, f.Spec.Other...)
	}
	var kept []string
	for _, e := range elements {
		switch {
		case e == nil || !slices.Contains(f.Spec.OneOf, *e):
		case slices.Contains(kept, *e):
			return append(dst, f.Spec.Other...)
		default:
			kept = append(kept, *e)
		}
	}
	if len(kept) == 0 {
		return append(dst, f.Spec.Other...)
	}
	dst = append(dst, '[')
	for i, e := range kept {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendScalar(dst, e, f.Kind)
	}
	return append(dst, ']')
}

func (f *Format) appendText(dst []byte, text string) []byte {
	if f.Array {
		if out, ok := appendArray(dst, text, f.Kind); ok {
			return out
		}
		return AppendString(dst, text)
	}
	return appendScalar(dst, text, f.Kind)
}

func appendScalar(dst []byte, text string, kind Kind) []byte {
	switch kind {
	case Bool:
		switch text {
		case "t", "true":
			return append(dst, "true"...)
		case "f", "false":
			return append(dst, "false"...)
		}
	case Int, Number:
		if IsNumber(text) {
			return append(dst, text...)
		}
	case JSON:
		if json.Valid([]byte(text)) {
			return appendCompact(dst, text)
		}
	case Timestamp, TimestampTZ:
		return appendTimestamp(dst, text)
	case Bytea:
		if digits, ok := strings.CutPrefix(text, `\x`); ok {
			if raw, err := hex.DecodeString(digits); err == nil {
				dst = append(dst, '"')
				dst = base64.StdEncoding.AppendEncode(dst, raw)
				return append(dst, '"')
			}
		}
	}
	return AppendString(dst, text)
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
