package config

import (
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written with its unit, such as "5s". It is a struct so that no decoder reads a bare
// number as nanoseconds.
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not a duration; write a number with its unit, such as "5s", "10m" or "24h"`, text)
	}
	d.Duration = parsed
	return nil
}

// String returns the shortest form that UnmarshalText accepts: "24h" rather than "24h0m0s".
func (d Duration) String() string {
	text := d.Duration.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Size is a number of bytes that is written with its unit, such as "4MiB".
type Size struct{ Bytes int64 }

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"B", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		s.Bytes = n * unit.bytes
		return nil
	}
	return fmt.Errorf(`%q is not a size; write a whole number with its unit, such as "512KiB", "4MiB" or "1GiB"`, text)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	for _, unit := range sizeUnits {
		if s.Bytes != 0 && s.Bytes%unit.bytes == 0 {
			return strconv.FormatInt(s.Bytes/unit.bytes, 10) + unit.name
		}
	}
	return "0B"
}

// Key encrypts secrets in the outbox. It prints, marshals and logs as "[redacted]".
type Key [32]byte

// String redacts.
func (k Key) String() string { return "[redacted]" }

// GoString keeps %#v from printing the bytes.
func (k Key) GoString() string { return k.String() }

// MarshalText implements encoding.TextMarshaler: it redacts.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue implements slog.LogValuer: it redacts.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// DSN is a PostgreSQL connection string, either a URL or keywords and values. It prints, marshals and logs as "[redacted]",
// because a password may be anywhere in it; string(d) is the text.
type DSN string

// String redacts. An empty DSN prints as an empty string, so that its absence is visible.
func (d DSN) String() string {
	if d == "" {
		return ""
	}
	return "[redacted]"
}

// GoString keeps %#v from printing the text.
func (d DSN) GoString() string { return d.String() }

// MarshalText implements encoding.TextMarshaler: it redacts.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// LogValue implements slog.LogValuer: it redacts.
func (d DSN) LogValue() slog.Value { return slog.StringValue(d.String()) }

// URL is the URL of a webhook, a token server or a proxy. It prints, marshals and logs as scheme and host only, because paths
// and queries often contain keys; string(u) is the text.
type URL string

// String returns scheme and host only.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Host == "" {
		return "[redacted]"
	}
	return parsed.Scheme + "://" + parsed.Host + "/…"
}

// GoString keeps %#v from printing the text.
func (u URL) GoString() string { return u.String() }

// MarshalText implements encoding.TextMarshaler: it redacts.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue implements slog.LogValuer: it redacts.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
