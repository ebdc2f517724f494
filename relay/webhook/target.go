package webhook

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Target is an Endpoint that is prepared for sending. It is safe for concurrent use and not affected by later changes of the
// Endpoint.
type Target struct {
	url        *url.URL
	header     http.Header
	signatures signatures
	identity   string
	transport  *http.Transport
	tokens     *tokens // nil without OAuth2
	// source is the start of the CloudEvents source; empty if the endpoint does not use CloudEvents.
	source string
	// origin is the name sent in handshakes; empty if the endpoint does not require one.
	origin string
	rate   float64
	// dropped is why some of the endpoint's headers are not sent; nil if all are.
	dropped error
	clock   *receiverClock
}

// DroppedHeaders returns which headers of an IAM's webhook are not sent and why, one per line; nil if all are sent.
func (t *Target) DroppedHeaders() error { return t.dropped }

// Target prepares the endpoint. If nothing can be sent to it, Target returns the reason, and the Outcome of each delivery is
// Invalid(err).
func (s *Sender) Target(e *Endpoint) (*Target, error) {
	t, err := s.target(e)
	if err != nil {
		return nil, fmt.Errorf("webhook %q: %w", cmp.Or(e.Name, e.Origin+":"+e.Key), err)
	}
	return t, nil
}

// Host is the host of the URL, with its port.
func (t *Target) Host() string { return t.url.Host }

func (s *Sender) target(e *Endpoint) (*Target, error) {
	u, err := parseURL(e.URL, s.allowHTTP, s.guard)
	if err != nil {
		return nil, err
	}
	headers, dropped := e.Headers, error(nil)
	if e.Origin == OriginIAM {
		headers, dropped = sendableHeaders(e.Headers)
	} else if err := CheckHeaders(e.Headers); err != nil {
		return nil, err
	}
	if err := joinProblems(e.checkCredentials(s.allowHTTP, s.guard)); err != nil {
		return nil, err
	}
	keys, err := newSignatures(e.Secrets)
	if err != nil {
		return nil, err
	}
	transport, err := s.transportFor(&e.Credentials)
	if err != nil {
		return nil, err
	}
	t := &Target{
		clock:      s.clocks.of(u.Host),
		url:        u,
		header:     s.staticHeader(e, headers),
		signatures: keys,
		identity:   e.Origin + "\x00" + e.Key,
		transport:  transport,
		rate:       e.Options.Rate,
		dropped:    dropped,
	}
	if e.Options.CloudEvents {
		t.source = s.source
	}
	if e.Options.Handshake {
		t.origin = s.origin
	}
	if o := e.Credentials.OAuth2; o != nil {
		tokenURL, err := parseURL(o.TokenURL, s.allowHTTP, s.guard)
		if err != nil {
			return nil, err
		}
		t.tokens = s.tokens.get(o.fingerprint(e.Credentials.tlsFingerprint()), func() *tokens { return newTokens(o, tokenURL, transport) })
	}
	return t, nil
}

// deliveryID returns a version 7 UUID (RFC 9562, section 5.7) whose random part is a hash of the event and the endpoint, so that
// it is the same on all attempts, even after a crash, without being stored.
func (t *Target) deliveryID(messageID string, occurred time.Time) string {
	sum := sha256.Sum256([]byte(messageID + "\x00" + t.identity))
	u := sum[:16]
	ms := uint64(occurred.UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	var text [36]byte
	hex.Encode(text[:], u[:4])
	text[8] = '-'
	hex.Encode(text[9:], u[4:6])
	text[13] = '-'
	hex.Encode(text[14:], u[6:8])
	text[18] = '-'
	hex.Encode(text[19:], u[8:10])
	text[23] = '-'
	hex.Encode(text[24:], u[10:])
	return string(text[:])
}
