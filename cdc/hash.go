package cdc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// uuidOID is the type OID of uuid (pg_type.dat).
const uuidOID = 2950

// hashLength is the length of a hashed value: SHA-256 in hex.
const hashLength = 2 * sha256.Size

// appendHash appends the hash that replaces a value of a Column with Hash. A uuid is hashed as its 16 bytes, so the result does
// not depend on how it is written.
func appendHash(dst []byte, typeOID uint32, text []byte) ([]byte, error) {
	sum := [sha256.Size]byte{}
	if typeOID == uuidOID {
		raw, err := parseUUID(text)
		if err != nil {
			return nil, err
		}
		sum = sha256.Sum256(raw[:])
	} else {
		sum = sha256.Sum256(text)
	}
	return hex.AppendEncode(dst, sum[:]), nil
}

// parseUUID parses PostgreSQL's output format of a uuid. The error does not repeat the text, which is a secret.
func parseUUID(text []byte) (raw [16]byte, err error) {
	var digits [32]byte
	n := 0
	for i, c := range text {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || (!dash && n == len(digits)) {
			return raw, fmt.Errorf("malformed uuid of %d bytes", len(text))
		}
		if !dash {
			digits[n] = c
			n++
		}
	}
	if n != len(digits) {
		return raw, fmt.Errorf("malformed uuid of %d bytes", len(text))
	}
	if _, err := hex.Decode(raw[:], digits[:]); err != nil {
		return raw, fmt.Errorf("malformed uuid of %d bytes", len(text))
	}
	return raw, nil
}
