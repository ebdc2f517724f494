package value

import "strings"

// appendArray converts an array literal such as {a,"b c",NULL,{d}} to a JSON array. It returns false if the text is not one.
// https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
func appendArray(dst []byte, text string, kind Kind) ([]byte, bool) {
	if strings.HasPrefix(text, "[") { // Bounds that do not begin at 1, as in [0:2]={…}.
		_, rest, ok := strings.Cut(text, "=")
		if !ok {
			return dst, false
		}
		text = rest
	}
	p := arrayParser{text: text, kind: kind, dst: dst}
	if !p.array(0) || p.at != len(text) {
		return dst, false
	}
	return p.dst, true
}

type arrayParser struct {
	text string
	at   int
	kind Kind
	dst  []byte
}

const maxDimensions = 6 // PostgreSQL's MAXDIM

func (p *arrayParser) array(depth int) bool {
	if depth >= maxDimensions || !p.take('{') {
		return false
	}
	p.dst = append(p.dst, '[')
	for first := true; ; first = false {
		if first && p.take('}') {
			break
		}
		if !p.element(depth) {
			return false
		}
		if p.take('}') {
			break
		}
		if !p.take(',') {
			return false
		}
		p.dst = append(p.dst, ',')
	}
	p.dst = append(p.dst, ']')
	return true
}

func (p *arrayParser) element(depth int) bool {
	if p.at >= len(p.text) {
		return false
	}
	switch p.text[p.at] {
	case '{':
		return p.array(depth + 1)
	case '"':
		return p.quoted()
	}
	end := strings.IndexAny(p.text[p.at:], ",}")
	if end <= 0 {
		return false
	}
	word := p.text[p.at : p.at+end]
	p.at += end
	if strings.EqualFold(word, "NULL") {
		p.dst = append(p.dst, "null"...)
		return true
	}
	p.dst = appendScalar(p.dst, word, p.kind)
	return true
}

func (p *arrayParser) quoted() bool {
	var word strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; c {
		case '"':
			p.at = i + 1
			p.dst = appendScalar(p.dst, word.String(), p.kind)
			return true
		case '\\':
			if i++; i < len(p.text) {
				word.WriteByte(p.text[i])
			}
		default:
			word.WriteByte(c)
		}
	}
	return false
}

func (p *arrayParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}
