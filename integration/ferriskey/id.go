package ferriskey

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// NewID returns a new UUID of version 7, as FerrisKey makes them: 48 bits of Unix milliseconds, the rest random.
// RFC 9562 section 5.7.
func NewID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(id[6:]) // It never fails: crypto/rand ends the program instead.
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// newSecret returns 64 lower-case hexadecimal characters, as FerrisKey's secrets are.
func newSecret() string {
	var secret [32]byte
	rand.Read(secret[:]) // It never fails: crypto/rand ends the program instead.
	return hex.EncodeToString(secret[:])
}
