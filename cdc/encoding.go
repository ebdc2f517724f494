package cdc

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// encoding converts the texts of a database to UTF-8 and back, character by character. In every encoding, ASCII stands for
// itself.
//
// The server could convert as well, but it ends the session at the first byte that it cannot convert, even in a column that is
// not mapped. The sessions that read rows therefore request the bytes as they are stored, and only mapped columns are
// converted.
//
// A byte that represents no character becomes U+FFFD, the replacement character, followed by its value as two upper-case hex
// digits. The result is valid wherever a character is, including JSON and array literals, and different texts stay different,
// so keys do too: in an encoding that has U+FFFD, a text that looks like such a replacement is itself replaced byte by byte.
// Databases in UTF-8 are the exception. Their valid texts are never changed, so a replacement can be ambiguous there, for bytes
// that the server should not have accepted.
type encoding struct {
	name string
	// decode returns the first character of a text that starts with a byte that is not ASCII. size is 0 if it is not a character.
	decode func(src []byte) (r rune, size int)
	// encode appends a character that is not ASCII. It returns false if the encoding does not have it.
	encode func(dst []byte, r rune) ([]byte, bool)
	// isUTF8 reports whether a text needs no conversion.
	isUTF8 func(text []byte) bool
	// serverConverts: this package cannot convert the encoding, so the server has to, and fails where it cannot.
	serverConverts bool
}

// encodingOf returns the encoding of the session's database, which the server reports at session start.
func encodingOf(conn *pgconn.PgConn) *encoding {
	return encodingNamed(conn.ParameterStatus("server_encoding"))
}

// EncodingWarning describes what the encoding of the source database means for the texts of mapped columns; empty if nothing.
func EncodingWarning(conn *pgconn.PgConn) string {
	switch e := encodingOf(conn); {
	case e.serverConverts:
		return fmt.Sprintf("server_encoding is %s: the server converts to UTF-8, and a text that it cannot convert, in any column of a published table, stops the relay; correct such texts first", e.name)
	case e.name == sqlASCII:
		return "server_encoding is SQL_ASCII, so the encoding of texts is unknown: the relay assumes UTF-8; " +
			"a byte of a mapped column that is not valid UTF-8 is sent as U+FFFD followed by its value in hex"
	case e.name != utf8Name:
		return fmt.Sprintf("server_encoding is %s: the relay converts the texts of mapped columns to UTF-8; a byte that represents no character is sent as U+FFFD followed by its value in hex", e.name)
	}
	return ""
}

// rawName is the encoding to which convert_to has to convert a text so that toUTF8 accepts the bytes.
func (e *encoding) rawName() string {
	if e.serverConverts {
		return utf8Name
	}
	return e.name
}

// requestRawText makes the server send texts as they are stored.
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

// parseReplacement parses the two hex digits after U+FFFD in the replacement of a byte.
func parseReplacement[T string | []byte](digits T) (byte, bool) {
	if len(digits) < 2 {
		return 0, false
	}
	high, low := bytes.IndexByte([]byte(hexDigits), digits[0]), bytes.IndexByte([]byte(hexDigits), digits[1])
	return byte(high<<4 | low&15), high >= 8 && low >= 0
}

// toUTF8 converts a text of the database to UTF-8. The result may share memory with raw.
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

// fromUTF8 is the inverse of toUTF8. It returns false if the encoding does not have all characters.
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

// identifierName converts the name of a table or column to UTF-8.
func (e *encoding) identifierName(name string) string {
	if raw := []byte(name); !e.isUTF8(raw) {
		return string(e.toUTF8(raw))
	}
	return name
}
