package webhook

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The headers of a request, besides those that net/http sets.
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

// CheckHeaders reports every custom header that may not be sent: malformed (RFC 9110, section 5), given twice, or one of
// those that belong to HTTP, to signatures or to the relay itself; and more of them than a request may carry. It never repeats
// a value.
func CheckHeaders(headers map[string]string) error {
	var problems []error
	seen := make(map[string]bool, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if err := checkHeader(name, headers[name], seen); err != nil {
			problems = append(problems, err)
		}
	}
	_, dropped := BoundHeaders(headers)
	return errors.Join(append(problems, dropped)...)
}

// checkHeader judges one header and notes its name in seen.
func checkHeader(name, value string, seen map[string]bool) error {
	lower := strings.ToLower(name)
	twice := seen[lower]
	seen[lower] = true
	switch {
	case !isToken(name):
		return fmt.Errorf("header %q: a name consists of letters, digits and -", name)
	case isReserved(lower):
		return fmt.Errorf("header %q is reserved: the relay or HTTP itself sets it", name)
	case twice:
		return fmt.Errorf("header %q is given twice: names differ by more than case", name)
	case !isFieldValue(value):
		return fmt.Errorf("header %q: its value has a line break or another control character", name)
	}
	return nil
}

// usableHeaders returns the headers of a webhook of the IAM that can be sent, and why the others cannot. An IAM accepts
// headers that this relay sets itself, such as Content-Type, and sends its own webhooks all the same: losing every event of the
// webhook over one of them would be worse than leaving it out. White space around names and values is not part of them (RFC 9110,
// section 5.5).
func usableHeaders(headers map[string]string) (usable map[string]string, dropped error) {
	usable = make(map[string]string, len(headers))
	seen := make(map[string]bool, len(headers))
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		trimmed, value := strings.TrimFunc(name, isBlank), strings.TrimFunc(headers[name], isBlank)
		if err := checkHeader(trimmed, value, seen); err != nil {
			problems = append(problems, err)
			continue
		}
		usable[trimmed] = value
	}
	return usable, errors.Join(problems...)
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

// headerSafe reports whether text from a database can be sent as a header value and read back unchanged.
func headerSafe(value string) bool {
	if value == "" || len(value) > 255 || value[0] == ' ' || value[len(value)-1] == ' ' {
		return false
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// fixedHeader returns the headers that are the same in every delivery to the endpoint.
func (s *Sender) fixedHeader(e *Endpoint, headers map[string]string) http.Header {
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
	// An entry without values is not sent. It tells net/http that the request may be repeated when a kept-alive
	// connection turns out to be closed, as Transport documents: receivers tell repetitions by the webhook-id.
	if _, ok := h[headerXIdempotencyKey]; !ok {
		h[headerXIdempotencyKey] = nil
	}
	return h
}
