package webhook

import "strings"

// Truncate returns at most limit bytes of a text, without half a character at the end.
func Truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}
