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

// CheckOrigin reports why a text cannot be SenderConfig.Origin: it names the sender, as a host name does.
func CheckOrigin(origin string) error {
	if origin == "" || len(origin) > 253 || origin == "*" ||
		strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return errors.New(`the origin must be a name without spaces, as "relay.example.com"`)
	}
	return nil
}

// Handshake asks the endpoint whether it agrees to deliveries (CloudEvents HTTP Webhook, section 4). It does if it answers 2xx and
// names the relay's origin, or any; the Outcome is then ClassDelivered. Every other answer is ClassHandshakeRefused. The request
// carries the endpoint's headers and credentials, which a gateway in front of it may want to see, and no event. An endpoint without
// the option is not asked.
func (s *Sender) Handshake(ctx context.Context, t *Target) Outcome {
	if t.origin == "" {
		return Outcome{Class: ClassDelivered}
	}
	start := time.Now()
	o := s.exchange(ctx, t, t.agreement, t.permissionRequest)
	o.Duration = time.Since(start)
	return o
}

// AgreementID is a hash of what the endpoint has to agree to: the URL and the origin. An agreement to another one is none. It is
// empty where no agreement is needed.
func (t *Target) AgreementID() string {
	if t.origin == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(t.url.String() + "\x00" + t.origin))
	return hex.EncodeToString(sum[:])
}

// permissionRequest builds the request. One that asks is idempotent to net/http, and may be repeated on a stale connection.
func (t *Target) permissionRequest(ctx context.Context) *http.Request {
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

// agreement judges the answer. An endpoint that does not know the handshake tends to answer OPTIONS with 2xx as well, for browsers;
// the header alone is consent.
func (t *Target) agreement(res *http.Response) Outcome {
	o := Outcome{Class: ClassHandshakeRefused, Status: res.StatusCode}
	allowed := res.Header.Get(headerAllowedOrigin)
	switch {
	case classOf(res.StatusCode) != ClassDelivered:
		o.Err = fmt.Errorf("the receiver answered the handshake with status %d", res.StatusCode)
	case allowed == "":
		o.Err = errors.New("the receiver answered the handshake without WebHook-Allowed-Origin")
	case allowed != "*" && !strings.EqualFold(allowed, t.origin):
		o.Err = fmt.Errorf("the receiver's WebHook-Allowed-Origin is neither * nor %s", t.origin)
	default:
		o.Class = ClassDelivered
		// "*" is no limit, and so is what is no number.
		if rate, err := strconv.Atoi(res.Header.Get(headerAllowedRate)); err == nil {
			o.AllowedRate = max(rate, 0)
		}
	}
	return o
}
