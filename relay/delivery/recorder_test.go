package delivery

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// An error may quote bytes that a receiver has sent. PostgreSQL's text type accepts neither NUL nor invalid UTF-8, and would refuse the
// whole batch every time.
func TestRecorder_ErrorFitsTextColumn(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"long": strings.Repeat("é", 1_000_000), "not UTF-8": "bad \xff\xfe end", "NUL": "a\x00b", "long and NUL": strings.Repeat("\x00", 1_000_000),
	} {
		r := newRecorder()
		r.attempt(1, 2, 3, time.Now(), &webhook.Outcome{Class: webhook.ClassHTTP4xx, Err: errors.New(text)})
		stored := r.pending.Attempts[0].Error
		if stored == "" || len(stored) > 3*maxErrorText || !utf8.ValidString(stored) || strings.Contains(stored, "\x00") {
			t.Errorf("%s: an error of %d bytes is stored as %d bytes: %.40q", name, len(text), len(stored), stored)
		}
	}
}

func TestRecorder_Batches(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	moved, completed := false, 0
	batch := func() *outbox.Delivery {
		return r.batch(func(*outbox.Delivery) bool { completed++; return moved })
	}
	if got := batch(); got != nil {
		t.Errorf("a batch without outcomes: %+v", got)
	}
	r.retry(outbox.Retry{Event: 1, Webhook: 7})
	if !r.hasUnrecordedRetries() {
		t.Error("a retry is not known to be unrecorded")
	}
	first := batch()
	if first == nil || len(first.Retries) != 1 {
		t.Fatalf("batch %+v", first)
	}
	r.retryDone(7, 1)
	completed = 0
	if again := batch(); again != first || completed != 0 || len(first.RetriesDone) != 0 {
		t.Error("a batch that is not recorded must be written again, unchanged")
	}
	r.recorded()
	if second := batch(); second == nil || len(second.Retries) != 0 || len(second.RetriesDone) != 1 {
		t.Errorf("second batch %+v", second)
	}
	r.recorded()
	if r.hasUnrecordedRetries() {
		t.Error("nothing is left, but a retry is said to be unrecorded")
	}
	if moved = true; batch() == nil {
		t.Error("no batch although the watermark has moved")
	}
}

func TestRecorder_FullBatchIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	for i := range int64(2 * recordAt) {
		if len(r.full) > 0 && i < recordAt {
			t.Fatalf("full after %d attempts", i)
		}
		r.attempt(1, i, 1, time.Now(), &webhook.Outcome{Class: webhook.ClassDelivered})
	}
	if len(r.full) != 1 {
		t.Error("a full batch does not wake the writer")
	}
}
