package command

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
)

// readRequest reads a captured request: a request line, headers, an empty line and the body. Captures differ from the bytes on
// the wire, so lines may end in LF alone, and the request line may name any version of HTTP.
func readRequest(name string) (http.Header, []byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("read the request: %s", err)}
	}
	header, body, err := parseRequest(text)
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("%s: %s", name, err)}
	}
	return header, body, nil
}

func parseRequest(text []byte) (http.Header, []byte, error) {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if words := strings.Fields(string(line)); len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/") {
		return nil, nil, errors.New("line 1 is not a request line, such as POST /hook HTTP/1.1; for headers alone, use --headers")
	}
	end, after := bytes.Index(rest, []byte("\n\n")), 2
	if crlf := bytes.Index(rest, []byte("\n\r\n")); crlf >= 0 && (end < 0 || crlf < end) {
		end, after = crlf, 3
	}
	if end < 0 {
		return nil, nil, errors.New("no empty line between headers and body")
	}
	header, err := parseHeaders(string(rest[:end]))
	if err != nil {
		return nil, nil, fmt.Errorf("headers: %w", err)
	}
	body := rest[end+after:]
	if strings.EqualFold(header.Get("Transfer-Encoding"), "chunked") {
		body, err = io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(bytes.NewReader(body))))
		if err != nil {
			return nil, nil, fmt.Errorf("the body is not chunked, or incomplete: %w", err)
		}
		return header, body, nil
	}
	if text := header.Get("Content-Length"); text != "" {
		length, err := strconv.Atoi(text)
		switch {
		case err != nil || length < 0:
			return nil, nil, errors.New("invalid Content-Length header")
		case length > len(body):
			return nil, nil, fmt.Errorf("the body has %d bytes, but Content-Length is %d: it is incomplete or was changed", len(body), length)
		}
		body = body[:length] // an editor may have added a newline at the end
	}
	return header, body, nil
}

// parseHeaders reads lines of the form Name: value.
func parseHeaders(text string) (http.Header, error) {
	header := http.Header{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d is not of the form Name: value", n)
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}
