package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// CheckOrigin returns why origin cannot be SenderConfig.Origin, which identifies the sender like a host name.
func CheckOrigin(origin string) error {
	if origin == "" || len(origin) > 253 || origin == "*" ||
		strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return errors.New(`must be a name without spaces, such as "relay.example.com"`)
	}
	return nil
}

// Handshake asks the endpoint for permission to deliver (CloudEvents HTTP Webhook, section 4). The endpoint grants it by a 2xx
// response that allows the relay's origin, or any origin: the Outcome is then ClassDelivered, and otherwise
// ClassHandshakeRefused. The request carries the endpoint's headers and credentials, which a gateway may require, but no event.
// For an endpoint without the option, Handshake returns ClassDelivered without a request.
func (s *Sender) Handshake(ctx context.Context, t *Target) Outcome {
	if t.origin == "" {
		return Outcome{Class: ClassDelivered}
	}
	start := time.Now()
	o := s.exchange(ctx, t, t.judgeHandshake, t.handshakeRequest)
	o.Duration = time.Since(start)
	return o
}

// HandshakeID is a hash of the URL and the origin for which the endpoint grants permission; a change of either requires a new
// handshake. It is empty if the endpoint needs none.
func (t *Target) HandshakeID() string {
	if t.origin == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(t.url.String() + "\x00" + t.origin))
	return hex.EncodeToString(sum[:])
}

// handshakeRequest builds the request. Its method is idempotent, so net/http may repeat it on a stale connection.
func (t *Target) handshakeRequest(ctx context.Context) *http.Request {
	header := maps.Clone(t.header)
	header.Del("Content-Type")
	header.Del(headerCESpecVersion)
	header.Set(headerRequestOrigin, t.origin)
	if t.rate > 0 {
		header.Set(headerRequestRate, strconv.Itoa(max(1, int(math.Ceil(t.rate*60)))))
	}
	req := &http.Request{
		Method: http.MethodOptions, URL: t.url, Host: t.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody,
	}
	return req.WithContext(ctx)
}

// judgeHandshake classifies the response. Only the header is consent: endpoints that do not implement the handshake often respond to
// OPTIONS with 2xx too, for CORS.
func (t *Target) judgeHandshake(res *http.Response) Outcome {
	o := Outcome{Class: ClassHandshakeRefused, Status: res.StatusCode}
	allowed := res.Header.Get(headerAllowedOrigin)
	switch {
	case classOf(res.StatusCode) != ClassDelivered:
		o.Err = fmt.Errorf("the receiver responded to the handshake with status %d", res.StatusCode)
	case allowed == "":
		o.Err = errors.New("the receiver responded to the handshake without WebHook-Allowed-Origin")
	case allowed != "*" && !strings.EqualFold(allowed, t.origin):
		o.Err = fmt.Errorf("the receiver's WebHook-Allowed-Origin is neither * nor %s (delivery.origin)", t.origin)
	default:
		o.Class = ClassDelivered
		// "*" means no limit, and so does anything else that is not a number
		if rate, err := strconv.Atoi(res.Header.Get(headerAllowedRate)); err == nil {
			o.AllowedRate = max(rate, 0)
		}
	}
	return o
}
