package delivery

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// An error may quote what a receiver has sent. The store takes neither NUL nor bytes that are not UTF-8, and would refuse the whole
// batch again and again.
func TestLedger_ErrorFitsTextColumn(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"long": strings.Repeat("é", 1_000_000), "not UTF-8": "bad \xff\xfe end", "NUL": "a\x00b", "long and NUL": strings.Repeat("\x00", 1_000_000),
	} {
		var l ledger
		l.init()
		l.attempt(1, 2, 3, time.Now(), webhook.Outcome{Class: webhook.ClassHTTP4xx, Err: errors.New(text)})
		stored := l.pending.Attempts[0].Error
		if stored == "" || len(stored) > 3*maxErrorText || !utf8.ValidString(stored) || strings.Contains(stored, "\x00") {
			t.Errorf("%s: an error of %d bytes is stored as %d bytes: %.40q", name, len(text), len(stored), stored)
		}
	}
}
