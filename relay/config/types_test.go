package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDuration_RoundTrip(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"5s": 5 * time.Second, "24h": 24 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "10m": 10 * time.Minute} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Duration != want || d.String() != text {
			t.Errorf("%s parses as %s (%v)", text, d, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := Duration{time.Duration(rapid.Int64().Draw(t, "d"))}
		var back Duration
		if err := back.UnmarshalText([]byte(d.String())); err != nil || back != d {
			t.Fatalf("%s round-trips to %s (%v)", d.Duration, back, err)
		}
	})
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0B": 0, "17B": 17, "512KiB": 512 << 10, "4MiB": 4 << 20, "1GiB": 1 << 30} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s.Bytes != want || s.String() != text {
			t.Errorf("%s parses as %s (%v)", text, s, err)
		}
	}
	for _, text := range []string{"", "4", "4MB", "-1B", "1.5MiB", "MiB", "99999999999GiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q parses as %s", text, s)
		}
	}
}
