package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// checkedWriter remembers the first error of writing, which most printing ignores: a result that was cut short, by a full disk for
// instance, must not end in exit code 0.
type checkedWriter struct {
	to  io.Writer
	err error
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.to.Write(p)
	w.err = err
	return n, err
}

// writeLine writes one object of a list as a line of JSON.
func writeLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

// writeObject writes indented JSON.
func writeObject(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// timeOrNil leaves the zero time out of JSON.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// timeText is a time for a table; the zero time is a dash.
func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// timeTextOrDash is timeText for a time that may be missing.
func timeTextOrDash(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return timeText(*t)
}

// orDash fills an empty cell of a table.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return visible(text)
}

// visible keeps text of others, such as the name of a webhook in the IAM, from moving the cursor or breaking a table.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// schemeAndHost is the part of a URL that may be shown: the rest may be a secret.
func schemeAndHost(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// count writes a number with its noun.
func count[N int | int64](n N, noun string) string {
	plural := noun + "s"
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		plural = stem + "ies"
	}
	if n == 1 {
		plural = noun
	}
	return fmt.Sprintf("%d %s", n, plural)
}
