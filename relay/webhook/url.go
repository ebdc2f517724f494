package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const maxURLBytes = 2048

// CheckURL returns why the relay would not send to a URL that an operator configures. It does not query DNS; the addresses of a name
// are checked when they are dialed. Of cfg, it uses AllowHTTP and AllowNetworks. The error does not contain the URL.
func CheckURL(rawURL string, cfg SenderConfig) error {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return err
	}
	return checkURL(rawURL, cfg.AllowHTTP, g)
}

// checkURL is stricter than parseURL: it rejects fragments, because a # in a configured URL is probably one that should be encoded.
func checkURL(rawURL string, allowHTTP bool, g *guard) error {
	if strings.Contains(rawURL, "#") {
		return errors.New("the URL must not contain a fragment (#); write %23 if the # belongs to the path or query")
	}
	_, err := parseURL(rawURL, allowHTTP, g)
	return err
}

// parseURL checks the URL and returns it in the form that is requested: without surrounding white space and control characters, with
// the host converted by IDNA, path and query percent-encoded, and the fragment removed. It is idempotent.
func parseURL(rawURL string, allowHTTP bool, g *guard) (*url.URL, error) {
	if len(rawURL) > maxURLBytes {
		return nil, fmt.Errorf("the URL is longer than %d bytes; use a shorter one", maxURLBytes)
	}
	text := cleanURL(rawURL)
	if text == "" {
		return nil, errors.New("the URL is empty; write https://host/path")
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse may quote a secret.
		return nil, errors.New("the URL is malformed; write https://host/path")
	}
	switch {
	case u.Scheme == "http" && !allowHTTP:
		return nil, errors.New("the URL must begin with https://; for http:// set delivery.allow_http = true")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL must begin with https://")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("the URL has no host; write https://host/path")
	case u.User != nil:
		return nil, errors.New("the URL must not contain a user name or password; set an Authorization header instead")
	}
	port := u.Port()
	if port != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, errors.New("the port in the URL must be between 1 and 65535")
		}
		port = ":" + strconv.FormatUint(n, 10)
	}
	host, err := canonicalHost(u.Hostname(), g)
	if err != nil {
		return nil, err
	}
	u.Host = host + port
	return u, nil
}

// cleanURL trims a URL and percent-encodes its path and query. It does not change the host.
func cleanURL(rawURL string) string {
	text := strings.TrimFunc(rawURL, isBlank)
	// Line breaks and tabs result from copying a wrapped line. The WHATWG URL standard removes them too.
	text = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(text)
	text, _, _ = strings.Cut(text, "#")
	start := strings.Index(text, "://")
	if start < 0 {
		return text
	}
	start += len("://")
	tail := strings.IndexAny(text[start:], "/?")
	if tail < 0 {
		return text
	}
	return text[:start+tail] + encodeTail(text[start+tail:])
}

// isBlank reports whether r is invisible: white space, a control character, or a format character such as a byte order mark or
// a zero-width space.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z)
}

// encodeTail percent-encodes the bytes that RFC 3986 does not allow in a path or query, including a percent sign that does not
// begin an escape.
func encodeTail(tail string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(tail) {
		c := tail[i]
		escape := c == '%' && i+2 < len(tail) && isHex(tail[i+1]) && isHex(tail[i+2])
		if escape || c > ' ' && c < 0x7f && !strings.ContainsRune("\"<>\\^`{|}%", rune(c)) {
			out.WriteByte(c)
			continue
		}
		out.Write([]byte{'%', hex[c>>4], hex[c&0xf]})
	}
	return out.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
