package cdc

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log (WAL), as a byte offset.
// https://www.postgresql.org/docs/current/datatype-pg-lsn.html
type LSN uint64

// String formats the position as PostgreSQL does: as two hexadecimal numbers.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// ParseLSN parses PostgreSQL's format.
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if !ok || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("invalid LSN %q; it must be two hexadecimal numbers separated by a slash", s)
	}
	return LSN(h<<32 | l), nil
}
