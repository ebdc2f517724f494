package webhook

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The headers of requests and responses, in canonical form.
const (
	headerID              = "Webhook-Id"
	headerTimestamp       = "Webhook-Timestamp"
	headerSignature       = "Webhook-Signature"
	headerEvent           = "X-Iam-Relay-Event"
	headerTenant          = "X-Iam-Relay-Tenant"
	headerReconciled      = "X-Iam-Relay-Reconciled"
	headerAttempt         = "X-Iam-Relay-Attempt"
	headerAttemptsLeft    = "X-Iam-Relay-Attempts-Left"
	headerFKTimestamp     = "X-Ferriskey-Timestamp"
	headerFKDelivery      = "X-Ferriskey-Delivery-Id"
	headerFKSignature     = "X-Ferriskey-Signature"
	headerXIdempotencyKey = "X-Idempotency-Key"
	headerAuthorization   = "Authorization"
	headerRequestOrigin   = "Webhook-Request-Origin"
	headerRequestRate     = "Webhook-Request-Rate"
	headerAllowedOrigin   = "Webhook-Allowed-Origin"
	headerAllowedRate     = "Webhook-Allowed-Rate"
)

var (
	reservedHeaders = []string{
		"host", "transfer-encoding", "connection", "te", "trailer", "upgrade", "keep-alive", "expect", "user-agent", "date",
		"forwarded",
	}
	reservedHeaderPrefixes = []string{
		"content-", "proxy-", "webhook-", "ce-", "x-ferriskey-", "x-iam-relay-", "x-forwarded-",
	}
)

// CheckHeaders returns every custom header that cannot be sent: it is malformed (RFC 9110, section 5), given twice, reserved for
// HTTP, signatures or the relay, or exceeds the limits. The error does not contain values.
func CheckHeaders(headers map[string]string) error {
	var problems []error
	seen := make(map[string]bool, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if err := checkHeader(name, headers[name], seen); err != nil {
			problems = append(problems, err)
		}
	}
	_, dropped := LimitHeaders(headers)
	return errors.Join(append(problems, dropped)...)
}

// checkHeader checks one header and adds its name to seen.
func checkHeader(name, value string, seen map[string]bool) error {
	lower := strings.ToLower(name)
	twice := seen[lower]
	seen[lower] = true
	switch {
	case !isToken(name):
		return fmt.Errorf("header %q: the name must consist of letters, digits and hyphens", name)
	case isReserved(lower):
		return fmt.Errorf("header %q is reserved for the relay or HTTP; remove it", name)
	case twice:
		return fmt.Errorf("header %q is given twice (case does not matter); remove one of them", name)
	case !isFieldValue(value):
		return fmt.Errorf("header %q: the value contains a line break or another control character; remove it", name)
	}
	return nil
}

// sendableHeaders returns those headers of an IAM's webhook that can be sent, and why the others cannot. IAMs accept headers
// that the relay sets itself, such as Content-Type; dropping such a header is better than not delivering any event. White space
// around names and values is not part of them (RFC 9110, section 5.5).
func sendableHeaders(headers map[string]string) (sendable map[string]string, dropped error) {
	sendable = make(map[string]string, len(headers))
	seen := make(map[string]bool, len(headers))
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		trimmed, value := strings.TrimFunc(name, isBlank), strings.TrimFunc(headers[name], isBlank)
		if err := checkHeader(trimmed, value, seen); err != nil {
			problems = append(problems, err)
			continue
		}
		sendable[trimmed] = value
	}
	return sendable, errors.Join(problems...)
}

func isReserved(lower string) bool {
	return slices.Contains(reservedHeaders, lower) ||
		slices.ContainsFunc(reservedHeaderPrefixes, func(p string) bool { return strings.HasPrefix(lower, p) })
}

func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

func isFieldValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isSafeHeaderValue reports whether text from a database arrives unchanged when it is sent as a header value.
func isSafeHeaderValue(value string) bool {
	if value == "" || len(value) > 255 || value[0] == ' ' || value[len(value)-1] == ' ' {
		return false
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// staticHeader returns the headers that are the same in all requests to the endpoint.
func (s *Sender) staticHeader(e *Endpoint, headers map[string]string) http.Header {
	h := make(http.Header, len(headers)+6)
	for name, value := range headers {
		h.Set(name, value)
	}
	if e.Credentials.Bearer != "" {
		h.Set(headerAuthorization, "Bearer "+e.Credentials.Bearer)
	}
	if e.Options.Handshake {
		h.Set(headerRequestOrigin, s.origin)
	}
	if e.Options.CloudEvents {
		h.Set(headerCESpecVersion, "1.0")
	}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", s.userAgent)
	// A nil entry is not sent. It marks the request as idempotent for Transport, which may then repeat it when a kept-alive
	// connection turns out to be closed; receivers deduplicate by webhook-id.
	if _, ok := h[headerXIdempotencyKey]; !ok {
		h[headerXIdempotencyKey] = nil
	}
	return h
}
