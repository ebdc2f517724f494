package outbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// statementBytes returns how many bytes of text each statement of a batch takes.
func statementBytes(t *testing.T, batch *pgx.Batch) []int {
	t.Helper()
	sizes := make([]int, len(batch.QueuedQueries))
	for i, q := range batch.QueuedQueries {
		for _, argument := range q.Arguments {
			switch a := argument.(type) {
			case string:
				sizes[i] += len(a)
			case []string:
				for _, text := range a {
					sizes[i] += len(text)
				}
			case []*string:
				for _, text := range a {
					if text != nil {
						sizes[i] += len(*text)
					}
				}
			}
		}
	}
	return sizes
}

// Statements are bounded in bytes, not only in rows: the server needs several times their size, and refuses a gibibyte.
func TestStatements_AreBoundedInBytes(t *testing.T) {
	t.Parallel()
	const n, large = 500, 64 << 10
	text := strings.Repeat("x", large)
	attempts := Delivery{Attempts: make([]Attempt, n)}
	var chunk Chunk
	for i := range n {
		a := &attempts.Attempts[i]
		a.Event, a.Webhook, a.Response, a.Error = int64(i), 1, text[:large/2], text[:large/2]
		chunk.AddWebhooks([]Webhook{{ID: int64(i), Origin: OriginIAM, Key: fmt.Sprint(i), Description: text}})
	}
	if chunk.Bytes < n*large {
		t.Errorf("a chunk with %d bytes of webhooks counts %d", n*large, chunk.Bytes)
	}
	for name, queue := range map[string]func(*pgx.Batch){
		"attempts": attempts.queueAttempts,
		"webhooks": func(batch *pgx.Batch) { queueWebhooks(batch, chunk.Webhooks, &keys{}) },
	} {
		batch, total := &pgx.Batch{}, 0
		queue(batch)
		for _, size := range statementBytes(t, batch) {
			if size > pieceBytes+large {
				t.Errorf("%s: a statement has %d bytes", name, size)
			}
			total += size
		}
		if total < n*large {
			t.Errorf("%s: the statements have %d bytes, want %d", name, total, n*large)
		}
	}
}
