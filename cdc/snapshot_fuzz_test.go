package cdc

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// copied reads what COPY sent, in two pieces.
func copied(first, second string) (rows []Row, rest string, err error) {
	w := &copyWriter{
		relation: &Relation{Table: decoded, Types: []uint32{23, 25}}, target: []int{1, 0}, cells: make([]cell, 2),
		each: func(r Row) error { rows = append(rows, r); return nil },
	}
	for _, piece := range []string{first, second} {
		if _, err := w.Write([]byte(piece)); err != nil {
			return rows, "", err
		}
	}
	return rows, string(w.line), nil
}

// https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-TEXT-FORMAT
var copyEscaper = strings.NewReplacer(`\`, `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`)

func copyField(v Value) string {
	if v.Kind == Null {
		return `\N`
	}
	return copyEscaper.Replace(v.Text)
}

// FuzzCopy: it does not matter where the connection cuts the data, nothing makes the parser panic, and the rows that it reads
// are those that PostgreSQL's own escaping gives.
func FuzzCopy(f *testing.F) {
	for _, seed := range []string{
		"ann\t1\n", "\\N\t1\nbob\t2\n", "a\\tb\\\\c\\n\t\\N\n", "\\q\\\t1\n", "\t\n\n", "one field\n", "1\t2\t3\n", "no end", "\\", "\\\n", "\x00\xff\t\\\\N\n",
	} {
		f.Add(seed, 0)
		f.Add(seed, len(seed)/2)
	}
	f.Fuzz(func(t *testing.T, data string, cut int) {
		rows, rest, err := copied(data, "")
		cut = min(max(cut, 0), len(data))
		others, otherRest, otherErr := copied(data[:cut], data[cut:])
		if diff := cmp.Diff(rows, others); diff != "" || rest != otherRest || (err == nil) != (otherErr == nil) {
			t.Errorf("cut at %d: %v against %v, %q against %q, rows (-whole +cut):\n%s", cut, err, otherErr, rest, otherRest, diff)
		}
		var plain strings.Builder
		for _, row := range rows {
			plain.WriteString(copyField(row[1]) + "\t" + copyField(row[0]) + "\n")
		}
		again, rest, err := copied(plain.String(), "")
		if err != nil || rest != "" || !slices.EqualFunc(rows, again, slices.Equal) {
			t.Errorf("rows %v were read as %v (%v)", rows, again, err)
		}
	})
}
