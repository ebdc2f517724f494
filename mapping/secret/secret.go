// Package secret judges by name and type which columns hold secrets.
package secret

import (
	"slices"
	"strings"
	"unicode"

	"github.com/iam-relay/iam-relay/mapping/value"
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

// LooksSecret reports whether a text column of that name looks like a secret.
func LooksSecret(name string) bool {
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

// Reason reports why a column of that name and type must not be part of a payload, or "". 0 is the unknown type.
func Reason(name string, oid uint32) string {
	t := value.TypeOfOID[oid]
	switch {
	case oid == oidDate || oid == oidTime || oid == oidTimeTZ || oid == oidInterval, t.Kind == value.Bool, t.Kind == value.Timestamp, t.Kind == value.TimestampTZ:
		return ""
	case t.Kind == value.JSON || oid == oidXML:
		return "is a document that may contain secrets"
	case t.Kind == value.Int || t.Kind == value.Number:
		if words := withoutNumbers(nameWords(name)); len(words) == 0 || !numericSecrets[words[len(words)-1]] {
			return ""
		}
	case oid == oidBytea:
		if end, _ := secretAt(nameWords(name)); end > 0 { // Binary data does not describe a secret.
			return "looks like a secret"
		}
	}
	if !LooksSecret(name) {
		return ""
	}
	return "looks like a secret"
}
