package cdc

import (
	"bytes"
	"unicode/utf8"

	xencoding "golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

const utf8Name, sqlASCII = "UTF8", "SQL_ASCII"

// singleByte and multiByte are the database encodings that this package converts, by PostgreSQL's names.
// https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED
var singleByte = map[string]*charmap.Charmap{
	"LATIN1": charmap.ISO8859_1, "LATIN2": charmap.ISO8859_2, "LATIN3": charmap.ISO8859_3, "LATIN4": charmap.ISO8859_4,
	"LATIN5": charmap.ISO8859_9, "LATIN6": charmap.ISO8859_10, "LATIN7": charmap.ISO8859_13, "LATIN8": charmap.ISO8859_14,
	"LATIN9": charmap.ISO8859_15, "LATIN10": charmap.ISO8859_16,
	"ISO_8859_5": charmap.ISO8859_5, "ISO_8859_6": charmap.ISO8859_6, "ISO_8859_7": charmap.ISO8859_7, "ISO_8859_8": charmap.ISO8859_8,
	"KOI8R": charmap.KOI8R, "KOI8U": charmap.KOI8U, "WIN866": charmap.CodePage866, "WIN874": charmap.Windows874,
	"WIN1250": charmap.Windows1250, "WIN1251": charmap.Windows1251, "WIN1252": charmap.Windows1252, "WIN1253": charmap.Windows1253,
	"WIN1254": charmap.Windows1254, "WIN1255": charmap.Windows1255, "WIN1256": charmap.Windows1256, "WIN1257": charmap.Windows1257,
	"WIN1258": charmap.Windows1258,
}

var multiByte = map[string]xencoding.Encoding{"EUC_JP": japanese.EUCJP, "EUC_KR": korean.EUCKR, "EUC_CN": simplifiedchinese.GBK}

// overrides are the characters for which PostgreSQL's conversion differs from that of golang.org/x/text.
var overrides = map[string]map[string]rune{
	"KOI8U":  {"\xae": '╝', "\xbe": '╬'},
	"EUC_CN": {"\xa1\xa4": '・', "\xa1\xaa": '―'},
	"EUC_KR": {"\xa2\xe8": '㉾'},
}

// encodingNamed returns the encoding with PostgreSQL's name. Unknown encodings are converted by the server.
func encodingNamed(name string) *encoding {
	if c := singleByte[name]; c != nil {
		return charmapEncoding(name, c).override(overrides[name])
	}
	if x := multiByte[name]; x != nil {
		return eucEncoding(name, x).override(overrides[name])
	}
	e := &encoding{name: name, decode: nextUTF8, encode: putUTF8, isUTF8: utf8.Valid}
	switch name {
	case sqlASCII:
		e.isUTF8 = func(text []byte) bool { return utf8.Valid(text) && !bytes.Contains(text, []byte(replacement)) }
	case "":
		e.name = utf8Name
	default:
		e.serverConverts = name != utf8Name
	}
	return e
}

func nextUTF8(src []byte) (rune, int) {
	r, size := utf8.DecodeRune(src)
	if r == utf8.RuneError && size == 1 {
		return 0, 0
	}
	return r, size
}

func putUTF8(dst []byte, r rune) ([]byte, bool) { return utf8.AppendRune(dst, r), true }

// ascii reports whether a text consists of ASCII characters.
func ascii(text []byte) bool {
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (e *encoding) override(exceptions map[string]rune) *encoding {
	if exceptions == nil {
		return e
	}
	back := map[rune]string{}
	for raw, r := range exceptions {
		back[r] = raw
	}
	next, put := e.decode, e.encode
	e.decode = func(src []byte) (rune, int) {
		for raw, r := range exceptions {
			if bytes.HasPrefix(src, []byte(raw)) {
				return r, len(raw)
			}
		}
		return next(src)
	}
	e.encode = func(dst []byte, r rune) ([]byte, bool) {
		if raw, ok := back[r]; ok {
			return append(dst, raw...), true
		}
		return put(dst, r)
	}
	return e
}

// lastControl is the last of the C1 control characters. A byte up to it that represents nothing else is that control character,
// as in PostgreSQL for the ISO encodings and in browsers for the Windows encodings as well.
// https://encoding.spec.whatwg.org/#legacy-single-byte-encodings
const lastControl = 0x9F

func charmapEncoding(name string, c *charmap.Charmap) *encoding {
	return &encoding{
		name: name, isUTF8: ascii,
		decode: func(src []byte) (rune, int) {
			switch r := c.DecodeByte(src[0]); {
			case r != utf8.RuneError:
				return r, 1
			case src[0] <= lastControl:
				return rune(src[0]), 1
			}
			return 0, 0
		},
		encode: func(dst []byte, r rune) ([]byte, bool) {
			if b, ok := c.EncodeRune(r); ok {
				return append(dst, b), true
			}
			return append(dst, byte(r)), r <= lastControl
		},
	}
}

// eucEncoding is an encoding with characters of two bytes, or of three that start with 0x8F. All bytes after the first are 0xA1
// or higher.
func eucEncoding(name string, x xencoding.Encoding) *encoding {
	put := func(dst []byte, r rune) ([]byte, bool) {
		encoded, err := x.NewEncoder().Bytes(utf8.AppendRune(nil, r))
		return append(dst, encoded...), err == nil
	}
	return &encoding{
		name: name, isUTF8: ascii, encode: put,
		decode: func(src []byte) (rune, int) {
			size := 2
			if src[0] == 0x8F {
				size = 3
			}
			if len(src) < size || src[1] < 0xA1 || src[size-1] < 0xA1 {
				return 0, 0
			}
			decoded, err := x.NewDecoder().Bytes(src[:size])
			r, length := utf8.DecodeRune(decoded)
			if err != nil || r == utf8.RuneError || length != len(decoded) {
				return 0, 0
			}
			// Different texts must stay different.
			if back, ok := put(nil, r); !ok || !bytes.Equal(back, src[:size]) {
				return 0, 0
			}
			return r, size
		},
	}
}
