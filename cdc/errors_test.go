package cdc

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// PostgreSQL 15 reports a row with a bytea of 600 MB by the first of these, as an internal error.
func TestExplain_RowLargerThan1GB(t *testing.T) {
	t.Parallel()
	for _, refusal := range []*pgconn.PgError{
		{Severity: "ERROR", Code: "XX000", Message: "invalid memory alloc request size 1258291203"},
		{Severity: "ERROR", Code: "54000", Message: "out of memory", Detail: "Cannot enlarge string buffer containing 1073741823 bytes by 1 more bytes."},
	} {
		err := explain(refusal, ErrPublicationMissing)
		if !strings.Contains(err.Error(), "larger than 1 GB") || IsTransient(err) {
			t.Errorf("%v: %v, transient: %t", refusal, err, IsTransient(err))
		}
	}
}

func TestIsTransient_ConcurrentDrop(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"cache lookup failed for relation 16402":            true,
		"cache lookup failed for attribute 3 of relation 1": true,
		"could not open relation with OID 16402":            true,
		"tuple concurrently updated":                        true,
		"could not read block 7 in file \"base/5/16402\"":   false,
	} {
		if got := IsTransient(&pgconn.PgError{Code: "XX000", Message: message}); got != want {
			t.Errorf("%s: %t, want %t", message, got, want)
		}
	}
}
