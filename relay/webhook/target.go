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

// Target is an Endpoint made ready for sending. It is safe for concurrent use and does not follow later changes of the
// Endpoint.
type Target struct {
	url        *url.URL
	header     http.Header
	signatures signatures
	identity   string
	transport  *http.Transport
	tokens     *tokens // nil without OAuth2
	// source begins the source of CloudEvents; it is empty where the endpoint wants none.
	source string
	// origin asks for permission to deliver; it is empty where none is needed.
	origin string
	rate   float64
	// dropped is why headers of the endpoint are left out; nil if all are sent.
	dropped error
	clock   *receiverClock
}

// DroppedHeaders says, a line for each, which headers of a webhook of the IAM are not sent and why; nil if all are.
func (t *Target) DroppedHeaders() error { return t.dropped }

// Target prepares the endpoint. An error says why nothing can be sent to it; the Outcome of a delivery is then
// Invalid(err).
func (s *Sender) Target(e *Endpoint) (*Target, error) {
	t, err := s.target(e)
	if err != nil {
		return nil, fmt.Errorf("webhook %q: %w", cmp.Or(e.Name, e.Origin+":"+e.Key), err)
	}
	return t, nil
}

// KeepClock keeps what the endpoint's former target has learned of the receiver's clock, if both lead to the same host.
func (t *Target) KeepClock(former *Target) {
	if t != nil && former != nil && t.url.Host == former.url.Host {
		t.clock = former.clock
	}
}

// Host is the host, with its port, that deliveries go to.
func (t *Target) Host() string { return t.url.Host }

func (s *Sender) target(e *Endpoint) (*Target, error) {
	u, err := parseURL(e.URL, s.allowHTTP, s.guard)
	if err != nil {
		return nil, err
	}
	headers, dropped := e.Headers, error(nil)
	if e.Origin == OriginIAM {
		headers, dropped = usableHeaders(e.Headers)
	} else if err := CheckHeaders(e.Headers); err != nil {
		return nil, err
	}
	if err := joined(e.checkCredentials(s.allowHTTP, s.guard)); err != nil {
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
		clock:      &receiverClock{},
		url:        u,
		header:     s.fixedHeader(e, headers),
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
		t.tokens = s.tokens.get(o.fingerprint(e.Credentials.profile()), func() *tokens { return newTokens(o, tokenURL, transport) })
	}
	return t, nil
}

// deliveryID makes a UUID of version 7 (RFC 9562, section 5.7) whose random part is a hash of the event and the endpoint:
// it is the same on all attempts, before and after a crash, without being stored.
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
