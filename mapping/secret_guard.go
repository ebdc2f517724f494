package mapping

import (
	"slices"
	"strings"
	"unicode"
)

// Bind refuses to read columns that look like secrets, by name and type, and columns that hold documents, unless the mapping
// lists them under hash, secrets or public. It looks at the name of the column, not at the name of the field in a payload. The
// type matters: a boolean enable_password is harmless, a text password is not.

// nameWords splits the name of a column into words: at characters that are not letters or digits, at changes of case, and
// between letters and digits.
func nameWords(name string) []string {
	var words []string
	runes := []rune(name)
	start := 0
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
		start = end
	}
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush(i)
			start = i + 1
			continue
		}
		if i == start {
			continue
		}
		before := runes[i-1]
		acronymEnds := unicode.IsUpper(before) && unicode.IsUpper(r) && i+1 < len(runes) && unicode.IsLower(runes[i+1]) // APIKey
		if unicode.IsLower(before) && unicode.IsUpper(r) || acronymEnds || unicode.IsDigit(before) != unicode.IsDigit(r) {
			flush(i)
		}
	}
	flush(len(runes))
	return words
}

// secretAt returns the index after the last word or phrase that makes a secret, or 0. rest is what follows the secret inside
// a word without separators.
func secretAt(words []string) (end int, rest string) {
	for i, word := range words {
		if secretWords[word] {
			end, rest = i+1, ""
			continue
		}
		for _, root := range secretRoots {
			if at := strings.LastIndex(word, root); at >= 0 && !innocentWords[word] {
				end, rest = i+1, word[at+len(root):]
			}
		}
	}
	for _, phrase := range secretPhrases {
		for i := range words {
			if i+len(phrase) > end && i+len(phrase) <= len(words) && slices.Equal(words[i:i+len(phrase)], phrase) {
				end, rest = i+len(phrase), ""
			}
		}
	}
	return end, rest
}

// looksSecret reports whether a text column of that name looks like a secret.
func looksSecret(name string) bool {
	words := withoutNumbers(nameWords(name))
	end, rest := secretAt(words)
	if end == 0 {
		words = nameWords(name) // A number may be part of the word, as in md5.
		if end, rest = secretAt(words); end == 0 {
			return false
		}
	}
	if end < len(words) {
		return !neutralWords[words[len(words)-1]]
	}
	return rest == "" || !neutralRun(rest)
}

// withoutNumbers drops numbers at the end, as in password2.
func withoutNumbers(words []string) []string {
	for len(words) > 1 && strings.Trim(words[len(words)-1], "0123456789") == "" {
		words = words[:len(words)-1]
	}
	return words
}

// neutralRun reports whether a text without separators consists of neutral words, such as the changedat of passwordchangedat.
func neutralRun(text string) bool {
	if text == "" {
		return true
	}
	for word := range neutralWords {
		if tail, ok := strings.CutPrefix(text, word); ok && neutralRun(tail) {
			return true
		}
	}
	return false
}

const (
	oidBytea, oidXML                         = 17, 142
	oidDate, oidTime, oidTimeTZ, oidInterval = 1082, 1083, 1266, 1186
)

// secretReason reports why a column of that name and type must not be part of a payload, or "". 0 is the unknown type.
func secretReason(name string, oid uint32) string {
	t := typeOfOID[oid]
	switch {
	case oid == oidDate || oid == oidTime || oid == oidTimeTZ || oid == oidInterval, t.kind == boolKind, t.kind == timestampKind, t.kind == timestamptzKind:
		return ""
	case t.kind == jsonKind || oid == oidXML:
		return "is a document that may contain secrets"
	case t.kind == intKind || t.kind == numberKind:
		if words := withoutNumbers(nameWords(name)); len(words) == 0 || !numericSecrets[words[len(words)-1]] {
			return ""
		}
	case oid == oidBytea:
		if end, _ := secretAt(nameWords(name)); end > 0 { // Binary data does not describe a secret.
			return "looks like a secret"
		}
	}
	if !looksSecret(name) {
		return ""
	}
	return "looks like a secret"
}

// checkSecrets reports the columns that must not be read.
func (b *boundTable) checkSecrets(p *problems) {
	t := b.table
	for i := range t.cdc.Columns {
		c := &t.cdc.Columns[i]
		if t.secret[i] || t.public[i] || c.Hash {
			continue
		}
		if reason := secretReason(c.Name, b.oids[i]); reason != "" {
			p.add(t.firstNamed[i], "%q of %s %s; remove it, list it under hash to read only its SHA-256, or list it under public if it is not a secret",
				c.Name, t.name(), reason)
		}
	}
}

// PublicColumns returns the columns that look like secrets and are declared public, as table.column.
func (m *Mapper) PublicColumns() []string {
	var out []string
	for _, b := range m.tables {
		for i, c := range b.table.cdc.Columns {
			if b.relation != nil && b.table.public[i] && secretReason(c.Name, b.oids[i]) != "" {
				out = append(out, b.table.name()+"."+c.Name)
			}
		}
	}
	return out
}
