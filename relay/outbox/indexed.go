package outbox

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// maxIndexed is the longest text, in bytes, that is indexed unchanged. PostgreSQL refuses index rows over 2,704 bytes, and a key of the IAM may
// have any length.
const maxIndexed = 1000

// indexed returns a text as it is indexed: unchanged, or hashed if it is too long. The hash is repeated until it is longer than maxIndexed,
// so that it cannot equal another text. The SQL function of the same name must agree.
func indexed(text string) string {
	if len(text) <= maxIndexed {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return strings.Repeat(hex.EncodeToString(sum[:]), 16)
}

// storedKey returns a key as the mirror stores it.
func storedKey(key cdc.Key) string { return indexed(string(key)) }

// fullKey returns the key of a mirrored row: the stored key, or, if that is a hash, the key computed from the row.
func fullKey(t *cdc.Table, stored string, row cdc.Row) (cdc.Key, error) {
	if len(stored) <= maxIndexed {
		return cdc.Key(stored), nil
	}
	return t.KeyOf(row)
}
