package spelling

import (
	"fmt"
	"strings"
)

// Suggest returns the end of a message: the candidate that was probably meant, or else all candidates if they are few.
func Suggest(name string, candidates []string) string {
	if near := Nearest(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	return "; known: " + strings.Join(candidates, ", ")
}
