package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRotate_OldSecretsExpire(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }
	w := Webhook{Secrets: []string{"iam"}} // as stored before the first rotation
	valid := func(hours int, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, w.ValidSecrets(at(hours))); diff != "" {
			t.Errorf("after %d h (-want +got):\n%s", hours, diff)
		}
	}
	valid(1000, "iam")
	if next := w.NextExpiry(at(0)); !next.IsZero() {
		t.Errorf("it ends at %s", next)
	}
	w.Rotate(at(0), 24*time.Hour, "second")
	valid(0, "second", "iam")
	valid(24, "second")
	w.Rotate(at(12), 24*time.Hour, "third")
	valid(12, "third", "second", "iam") // the first keeps its end
	if next := w.NextExpiry(at(12)); !next.Equal(at(24)) {
		t.Errorf("the next end is at %s", next)
	}
	valid(24, "third", "second")
	if next := w.NextExpiry(at(24)); !next.Equal(at(36)) {
		t.Errorf("the next end is at %s", next)
	}
	valid(36, "third")
	w.Rotate(at(24), time.Hour, "fourth")
	if diff := cmp.Diff([]string{"fourth", "third", "second"}, w.Secrets); diff != "" {
		t.Errorf("what has ended is dropped (-want +got):\n%s", diff)
	}
	valid(25, "fourth") // a shorter grace ends the others sooner
	w.Rotate(at(26), 0, "fifth", "sixth")
	if diff := cmp.Diff([]string{"fifth", "sixth"}, w.Secrets); diff != "" || len(w.SecretsExpire) != 2 || !w.SecretsCreated[1].Equal(at(26)) {
		t.Errorf("without a grace (-want +got):\n%s", diff)
	}
}
