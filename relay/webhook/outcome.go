package webhook

import (
	"errors"
	"slices"
	"time"
)

// Class is the result of an attempt. Logs, metrics and tables use the same words.
type Class string

// All classes.
const (
	ClassDelivered        Class = "delivered"         // 2xx
	ClassHTTP3xx          Class = "http_3xx"          // redirects are not followed
	ClassHTTP4xx          Class = "http_4xx"          // other than those below
	ClassHTTP408          Class = "http_408"          // Request Timeout
	ClassHTTP410          Class = "http_410"          // Gone: the receiver wants no more events
	ClassHTTP429          Class = "http_429"          // Too Many Requests
	ClassHTTP5xx          Class = "http_5xx"          //
	ClassHTTPOther        Class = "http_other"        // 101, or not a status of HTTP
	ClassTimeout          Class = "timeout"           // no connection or no response in time
	ClassDNSError         Class = "dns_error"         // the name cannot be resolved
	ClassConnectRefused   Class = "connect_refused"   // nothing listens on the port
	ClassConnectError     Class = "connect_error"     // unreachable, or reset while connecting
	ClassTLSError         Class = "tls_error"         // the TLS handshake or the verification of the certificate failed
	ClassSSRFBlocked      Class = "ssrf_blocked"      // the address is internal and not in AllowNetworks
	ClassInvalidEndpoint  Class = "invalid_endpoint"  // the URL, a header, a secret or the credentials are invalid
	ClassTransportError   Class = "transport_error"   // the connection failed, or the response is not HTTP
	ClassTokenError       Class = "token_error"       // the token server did not return a token
	ClassPayloadTooLarge  Class = "payload_too_large" // the body is missing or exceeds MaxPayload
	ClassHandshakeRefused Class = "handshake_refused" // the endpoint did not grant permission
	ClassWrongTenant      Class = "wrong_tenant"      // not sent, because the event belongs to another tenant
	ClassCanceled         Class = "canceled"          // the relay stopped during the attempt
)

var classes = []Class{
	ClassDelivered, ClassHTTP3xx, ClassHTTP4xx, ClassHTTP408, ClassHTTP410, ClassHTTP429, ClassHTTP5xx, ClassHTTPOther,
	ClassTimeout, ClassDNSError, ClassConnectRefused, ClassConnectError, ClassTLSError, ClassSSRFBlocked,
	ClassInvalidEndpoint, ClassTransportError, ClassTokenError, ClassPayloadTooLarge, ClassHandshakeRefused, ClassWrongTenant, ClassCanceled,
}

// Classes returns every Class.
func Classes() []Class { return slices.Clone(classes) }

// Verdict is the consequence of a Class.
type Verdict uint8

const (
	// Delivered means that nothing remains to be done.
	Delivered Verdict = iota + 1
	// Retry means that another attempt may succeed without a change of configuration.
	Retry
	// Permanent means that every attempt fails until the configuration of the endpoint or the relay changes.
	Permanent
)

func (v Verdict) String() string {
	switch v {
	case Delivered:
		return "delivered"
	case Retry:
		return "retry"
	case Permanent:
		return "permanent"
	}
	return "unknown"
}

// Verdict returns what to do next. Every HTTP failure except 410 is retried, including 3xx and 4xx, as Standard Webhooks requires: a
// receiver that responds with 404 or 401 during a failed deployment loses nothing. A canceled attempt does not count and is repeated.
func (c Class) Verdict() Verdict {
	switch c {
	case ClassDelivered:
		return Delivered
	case ClassHTTP410, ClassSSRFBlocked, ClassInvalidEndpoint, ClassPayloadTooLarge, ClassWrongTenant:
		return Permanent
	default:
		return Retry
	}
}

// ReachedOut reports whether the attempt tried to contact the endpoint or what it depends on: DNS, proxy or token server. Only such
// an attempt counts for the endpoint's health.
func (c Class) ReachedOut() bool {
	switch c {
	case ClassPayloadTooLarge, ClassInvalidEndpoint, ClassSSRFBlocked, ClassWrongTenant, ClassCanceled:
		return false
	default:
		return true
	}
}

// Outcome is the result of one attempt.
type Outcome struct {
	Class Class
	// Status is the HTTP status; 0 without a response.
	Status   int
	Duration time.Duration
	// Phases is the part of Duration that was spent on the endpoint, without that of the token server.
	Phases Phases
	// RetryAfter is the delay that the receiver requested, at most MaxRetryAfter; 0 if none.
	RetryAfter time.Duration
	// AllowedRate is the number of requests per minute that the endpoint allowed in a handshake; 0 if it set no limit.
	AllowedRate int
	// Snippet is the start of the body of a response other than 2xx: at most MaxSnippetBytes of valid UTF-8 without NUL. Only the
	// relay's administrators may see it, because it is the receiver's text.
	Snippet []byte
	// Err is nil only for ClassDelivered. It contains no part of a URL except the host, no header and no text of the receiver.
	Err error
}

// Invalid is the Outcome for an endpoint for which Sender.Target returned err.
func Invalid(err error) Outcome { return Outcome{Class: ClassInvalidEndpoint, Err: err} }

// WrongTenant is the Outcome for an event that must not reach the webhook.
func WrongTenant() Outcome {
	return Outcome{Class: ClassWrongTenant, Err: errors.New("the event belongs to another tenant than the webhook")}
}

func classOf(status int) Class {
	switch {
	case status >= 200 && status <= 299:
		return ClassDelivered
	case status == 408:
		return ClassHTTP408
	case status == 410:
		return ClassHTTP410
	case status == 429:
		return ClassHTTP429
	case status >= 300 && status <= 399:
		return ClassHTTP3xx
	case status >= 400 && status <= 499:
		return ClassHTTP4xx
	case status >= 500 && status <= 599:
		return ClassHTTP5xx
	}
	return ClassHTTPOther
}
