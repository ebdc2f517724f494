package outbox

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// maxIndexed is the longest text, in bytes, that an index holds as it is. PostgreSQL refuses index rows over 2,704 bytes, and
// a key of the IAM may have any length.
const maxIndexed = 1000

// indexed returns a text as indexes hold it: itself, or its hash if it is too long. The hash is repeated until it is longer
// than any text that is held as it is, so that no text equals the hash of another. The SQL function of this name agrees.
func indexed(text string) string {
	if len(text) <= maxIndexed {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return strings.Repeat(hex.EncodeToString(sum[:]), 16)
}

// storedKey is a key as the mirror stores it.
func storedKey(key cdc.Key) string { return indexed(string(key)) }

// fullKey is the key of a mirrored row. The stored one says it unless it is a hash; the row always does.
func fullKey(t *cdc.Table, stored string, row cdc.Row) (cdc.Key, error) {
	if len(stored) <= maxIndexed {
		return cdc.Key(stored), nil
	}
	return t.KeyOf(row)
}
