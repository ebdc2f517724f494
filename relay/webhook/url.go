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

// CheckURL reports why the relay would not send to a URL that an operator has written, and names the rule. It does not ask
// DNS: what a name resolves to is checked when it is dialed. Only cfg's AllowHTTP and AllowNetworks matter. The error never
// contains the URL.
func CheckURL(rawURL string, cfg SenderConfig) error {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return err
	}
	return checkURL(rawURL, cfg.AllowHTTP, g)
}

// checkURL is stricter than parseURL: a fragment in a URL that a person has just written is probably a # that should have
// been encoded, and dropping it would cut the URL off.
func checkURL(rawURL string, allowHTTP bool, g *guard) error {
	if strings.Contains(rawURL, "#") {
		return errors.New("the URL must not contain a fragment (#); write %23 for a # that belongs to the path or query")
	}
	_, err := parseURL(rawURL, allowHTTP, g)
	return err
}

// parseURL returns the URL in the one form that is both checked and sent to: white space and control characters around it
// are removed, the host is what IDNA makes of it, path and query are percent-encoded, and a fragment, which HTTP does not
// send, is dropped. Parsing the result again changes nothing.
func parseURL(rawURL string, allowHTTP bool, g *guard) (*url.URL, error) {
	if len(rawURL) > maxURLBytes {
		return nil, fmt.Errorf("the URL is longer than %d bytes", maxURLBytes)
	}
	text := cleanURL(rawURL)
	if text == "" {
		return nil, errors.New("the URL is empty")
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse repeats what may be a secret.
		return nil, errors.New("the URL is malformed; write https://host/path")
	}
	switch {
	case u.Scheme == "http" && !allowHTTP:
		return nil, errors.New("the URL must begin with https://; plain http needs delivery.allow_http = true")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL must begin with https://")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL must not contain a user name or password; send an Authorization header instead")
	}
	port := u.Port()
	if port != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, errors.New("the URL's port must be a number from 1 to 65535")
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

// cleanURL removes what surrounds a URL and encodes what its path and query must not contain as it is. The host stays as it
// is written.
func cleanURL(rawURL string) string {
	text := strings.TrimFunc(rawURL, isBlank)
	// Line breaks and tabs come from copying a wrapped line; clients that follow the WHATWG URL standard drop them as well.
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

// isBlank reports what is not visible: white space, control characters, and format characters such as a byte order mark or
// a zero-width space.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z)
}

// encodeTail percent-encodes what RFC 3986 does not allow in a path or query: white space, control characters, all bytes
// outside ASCII, and a percent sign that does not begin an escape.
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
