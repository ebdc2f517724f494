package webhook

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSchedule_Default(t *testing.T) {
	t.Parallel()
	s := DefaultSchedule()
	if got := s.Attempts(); got != 10 {
		t.Errorf("attempts = %d, want 10", got)
	}
	var total time.Duration
	for attempt := 1; ; attempt++ {
		delay, ok := s.Next(attempt, 0.5)
		if !ok {
			if attempt != s.Attempts() {
				t.Errorf("the last attempt is %d, want %d", attempt, s.Attempts())
			}
			break
		}
		total += delay
	}
	if want := 75*time.Hour + 35*time.Minute + 5*time.Second; total != want {
		t.Errorf("total = %s, want %s", total, want)
	}
	if _, ok := s.Next(0, 0.5); ok {
		t.Error("Next(0) returns a delay")
	}
}

func TestSchedule_Jitter(t *testing.T) {
	t.Parallel()
	s := Schedule{Delays: []time.Duration{100 * time.Second}, Jitter: 0.2}
	for random, want := range map[float64]time.Duration{0: 80 * time.Second, 0.5: 100 * time.Second, 0.75: 110 * time.Second} {
		if got, _ := s.Next(1, random); got.Round(time.Millisecond) != want {
			t.Errorf("Next(1, %v) = %s, want %s", random, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		random := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "random")
		if got, ok := s.Next(1, random); !ok || got < 80*time.Second || got > 120*time.Second {
			t.Fatalf("Next = %s, %t", got, ok)
		}
	})
}
