package cdc

import (
	"maps"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// TestEncoding_ConvertsLikeTheServer converts every character of every encoding and compares the result with the server's.
// Bytes that are no character for the server must survive a round trip.
func TestEncoding_ConvertsLikeTheServer(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), clustertest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `CREATE FUNCTION converted(raw bytea, encoding name) RETURNS text LANGUAGE plpgsql AS
		$$ BEGIN RETURN convert_from(raw, encoding); EXCEPTION WHEN untranslatable_character OR character_not_in_repertoire THEN RETURN ''; END $$`); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(singleByte)) {
		var raw [][]byte
		for b := 0x80; b < 0x100; b++ {
			raw = append(raw, []byte{byte(b)})
		}
		compareWithServer(t, conn, name, raw, 0)
	}
	var pairs [][]byte
	for high := 0xA1; high < 0xFF; high++ {
		for low := 0xA1; low < 0xFF; low++ {
			pairs = append(pairs, []byte{byte(high), byte(low)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(multiByte)) {
		different := 0
		if name == "EUC_JP" {
			different = 9 // characters with two byte sequences, which must stay distinct
		}
		compareWithServer(t, conn, name, pairs, different)
	}
}

func compareWithServer(t *testing.T, conn *pgx.Conn, name string, raw [][]byte, tolerated int) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT converted(r, $2) FROM unnest($1::bytea[]) WITH ORDINALITY AS u (r, n) ORDER BY n`, raw, name)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	e, different := encodingNamed(name), 0
	seen := map[string][]byte{}
	for i, r := range raw {
		ours := string(e.toUTF8(r))
		if back, ok := e.fromUTF8(ours); !ok || string(back) != string(r) || !utf8.ValidString(ours) {
			t.Errorf("%s: % x becomes %q, and that becomes % x", name, r, ours, back)
		}
		if other, ok := seen[ours]; ok {
			t.Errorf("%s: % x and % x both become %q", name, other, r, ours)
		}
		seen[ours] = r
		if theirs[i] != "" && theirs[i] != ours {
			if different++; different > tolerated {
				t.Errorf("%s: % x becomes %q, want the server's %q", name, r, ours, theirs[i])
			}
		}
	}
}

// FuzzEncoding_RoundTrip checks that every text survives a round trip in every encoding other than UTF-8.
func FuzzEncoding_RoundTrip(f *testing.F) {
	for _, seed := range []string{"", "Zo\xeb", "\xef\xbf\xbdEB", "\xef\xbf\xbd\xef\xbf\xbdEF", "\x8f\xa1a", "\xa1\xa1\xa1", "\xef\xbf", "\xef\xbfBD"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, name := range []string{sqlASCII, "WIN1252", "WIN1253", "LATIN1", "KOI8R", "EUC_JP", "EUC_KR", "EUC_CN"} {
			e := encodingNamed(name)
			text := e.toUTF8(raw)
			if back, ok := e.fromUTF8(string(text)); !ok || string(back) != string(raw) || !utf8.Valid(text) {
				t.Errorf("%s: %q becomes %q, and that becomes %q", name, raw, text, back)
			}
		}
	})
}
