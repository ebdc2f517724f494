package cdc

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// encoding turns the texts of a database into UTF-8 and back, character by character; ASCII stands for itself in all of them.
//
// The server would do so too, but it ends the session at the first byte that it cannot convert, also in a column that is not
// mapped. So sessions that read rows have it send the bytes as they are stored, and only mapped columns are converted.
//
// A byte that stands for nothing becomes U+FFFD, the replacement character, and its value as two upper-case hex digits. That is
// valid wherever a character is (also within JSON, and in the texts of arrays), and different texts stay different, so that keys do:
// what looks like such a replacement, in an encoding that has U+FFFD, is itself replaced byte by byte. The exception are databases
// in UTF-8, whose valid texts are never touched: there it can be ambiguous, for bytes that the server should not have accepted.
type encoding struct {
	name string
	// next reads the first character of a text that begins with a byte that is not ASCII. Size is 0 if there is none.
	decode func(src []byte) (r rune, size int)
	// put appends a character that is not ASCII; false if the encoding does not have it.
	encode func(dst []byte, r rune) ([]byte, bool)
	// plain reports whether a text is UTF-8 as it is.
	isUTF8 func(text []byte) bool
	// converted: the server has to convert, and fails where it cannot.
	serverConverts bool
}

// encodingOf is the encoding of the database that a session is of. The server reports it at the start.
func encodingOf(conn *pgconn.PgConn) *encoding {
	return encodingNamed(conn.ParameterStatus("server_encoding"))
}

// EncodingProblem says what the encoding of the source's database means for the texts of mapped columns; empty if nothing.
func EncodingProblem(conn *pgconn.PgConn) string {
	switch e := encodingOf(conn); {
	case e.serverConverts:
		return fmt.Sprintf("server_encoding is %s: the server converts to UTF-8, and a text that it cannot convert, in any column of a published table, stops the relay; correct such texts first", e.name)
	case e.name == sqlASCII:
		return "server_encoding is SQL_ASCII, so the server does not know how texts are encoded: the relay takes them for UTF-8; " +
			"each byte of a mapped column that is not valid UTF-8 is sent as U+FFFD and its value in hex"
	case e.name != utf8Name:
		return fmt.Sprintf("server_encoding is %s: the relay converts the texts of mapped columns to UTF-8; each byte that stands for no character is sent as U+FFFD and its value in hex", e.name)
	}
	return ""
}

// ofBytes is the encoding into which the server converts a text so that text takes the bytes.
func (e *encoding) rawName() string {
	if e.serverConverts {
		return utf8Name
	}
	return e.name
}

// readRaw makes the server send texts as they are stored.
func requestRawText(ctx context.Context, conn *pgconn.PgConn) error {
	if e := encodingOf(conn); e.name == utf8Name || e.serverConverts {
		return nil
	}
	if _, err := conn.Exec(ctx, "SET client_encoding = 'SQL_ASCII'").ReadAll(); err != nil {
		return fmt.Errorf("set client_encoding: %w", err)
	}
	return nil
}

const hexDigits = "0123456789ABCDEF"

const replacement = string(utf8.RuneError)

func appendReplacement(dst []byte, b byte) []byte {
	return append(append(dst, replacement...), hexDigits[b>>4], hexDigits[b&15])
}

// replaced reads what follows U+FFFD in the replacement of a byte.
func parseReplacement[T string | []byte](digits T) (byte, bool) {
	if len(digits) < 2 {
		return 0, false
	}
	high, low := bytes.IndexByte([]byte(hexDigits), digits[0]), bytes.IndexByte([]byte(hexDigits), digits[1])
	return byte(high<<4 | low&15), high >= 8 && low >= 0
}

// text converts a text of the database to UTF-8. The result may share its memory.
func (e *encoding) toUTF8(raw []byte) []byte {
	if e.isUTF8(raw) {
		return raw
	}
	out := make([]byte, 0, len(raw)+len(raw)/2)
	for len(raw) > 0 {
		if raw[0] < utf8.RuneSelf {
			out, raw = append(out, raw[0]), raw[1:]
			continue
		}
		r, size := e.decode(raw)
		if _, alike := parseReplacement(raw[size:]); r == utf8.RuneError && alike {
			for _, b := range raw[:size] {
				out = appendReplacement(out, b)
			}
		} else if size == 0 {
			out, size = appendReplacement(out, raw[0]), 1
		} else {
			out = utf8.AppendRune(out, r)
		}
		raw = raw[size:]
	}
	return out
}

// bytes converts UTF-8, as text returns it, to the encoding of the database; false if that does not have all characters.
func (e *encoding) fromUTF8(text string) ([]byte, bool) {
	if e.name == utf8Name || e.serverConverts {
		return []byte(text), true
	}
	out := make([]byte, 0, len(text))
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		at += size
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
			continue
		}
		if b, ok := parseReplacement(text[at:]); ok && r == utf8.RuneError {
			out, at = append(out, b), at+2
			continue
		}
		var ok bool
		if out, ok = e.encode(out, r); !ok {
			return nil, false
		}
	}
	return out, true
}

// identifier converts the name of a table or column.
func (e *encoding) identifierName(name string) string {
	if raw := []byte(name); !e.isUTF8(raw) {
		return string(e.toUTF8(raw))
	}
	return name
}
