package value

import (
	"strings"
	"time"
)

// appendTimestamp writes "2026-08-20 13:54:00.12" or "2026-08-20 13:54:00.12+00" as RFC 3339 with Z and with 0, 3 or 6
// fractional digits, the fewest that are exact. FerrisKey, with Rust's chrono, uses the same form. Values that RFC 3339 cannot
// express (infinity, years before 1 or after 9999) remain PostgreSQL's text.
func appendTimestamp(dst []byte, text string) []byte {
	const seconds = len("2026-08-20 13:54:00")
	body, zone := text, ""
	if len(text) > seconds {
		if i := strings.IndexAny(text[seconds:], "+- "); i >= 0 {
			body, zone = text[:seconds+i], text[seconds+i:]
		}
	}
	if !isTimestamp(body) {
		return AppendString(dst, text)
	}
	if zone != "" && zone != "+00" {
		t, err := time.Parse("2006-01-02 15:04:05.999999Z07", text)
		if err != nil {
			t, err = time.Parse("2006-01-02 15:04:05.999999Z07:00", text)
		}
		if err != nil {
			return AppendString(dst, text)
		}
		dst = append(dst, '"')
		dst = AppendTime(dst, t)
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

// isTimestamp reports whether text has the form "2026-08-20 13:54:00", with at most six fractional digits.
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

// AppendTime writes t in the form of appendTimestamp. PostgreSQL's times have microseconds.
func AppendTime(dst []byte, t time.Time) []byte {
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
