package webhook

import (
	"errors"
	"slices"
	"time"
)

// Class says how an attempt ended. The set is closed: the same words are in logs, metrics, tables and the page.
type Class string

// The classes, and what they say about the attempt.
const (
	ClassDelivered        Class = "delivered"         // 2xx
	ClassHTTP3xx          Class = "http_3xx"          // redirects are not followed
	ClassHTTP4xx          Class = "http_4xx"          // those without a class of their own
	ClassHTTP408          Class = "http_408"          // Request Timeout
	ClassHTTP410          Class = "http_410"          // Gone: the receiver wants no more events
	ClassHTTP429          Class = "http_429"          // Too Many Requests
	ClassHTTP5xx          Class = "http_5xx"          //
	ClassHTTPOther        Class = "http_other"        // 101, or a status that HTTP does not have
	ClassTimeout          Class = "timeout"           // no connection, or no answer, in time
	ClassDNSError         Class = "dns_error"         // the name did not resolve
	ClassConnectRefused   Class = "connect_refused"   // nothing listens there
	ClassConnectError     Class = "connect_error"     // unreachable, or reset while connecting
	ClassTLSError         Class = "tls_error"         // no handshake, or a certificate that does not verify
	ClassSSRFBlocked      Class = "ssrf_blocked"      // the address is internal and not allowed
	ClassInvalidEndpoint  Class = "invalid_endpoint"  // the URL, a header or the secret cannot be used
	ClassTransportError   Class = "transport_error"   // the connection broke, or the answer was no HTTP
	ClassTokenError       Class = "token_error"       // the token server gave no token
	ClassPayloadTooLarge  Class = "payload_too_large" // the body is larger than the relay sends
	ClassHandshakeRefused Class = "handshake_refused" // the endpoint did not agree to deliveries
	ClassWrongTenant      Class = "wrong_tenant"      // the event is of a tenant that the webhook does not belong to: not sent
	ClassCanceled         Class = "canceled"          // the relay itself stopped; says nothing about the endpoint
)

var classes = []Class{
	ClassDelivered, ClassHTTP3xx, ClassHTTP4xx, ClassHTTP408, ClassHTTP410, ClassHTTP429, ClassHTTP5xx, ClassHTTPOther,
	ClassTimeout, ClassDNSError, ClassConnectRefused, ClassConnectError, ClassTLSError, ClassSSRFBlocked,
	ClassInvalidEndpoint, ClassTransportError, ClassTokenError, ClassPayloadTooLarge, ClassHandshakeRefused, ClassWrongTenant, ClassCanceled,
}

// Classes returns every Class.
func Classes() []Class { return slices.Clone(classes) }

// Verdict is what follows from a Class.
type Verdict uint8

const (
	// Delivered needs nothing more.
	Delivered Verdict = iota + 1
	// Retry may succeed later, without anybody changing the endpoint's configuration.
	Retry
	// Permanent will fail again until the endpoint or the relay's configuration changes.
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

// Verdict returns what to do next. Every HTTP failure but 410 is retried, 3xx and 4xx included, as Standard Webhooks asks:
// a receiver that answers 404 or 401 during a botched deployment loses nothing. A canceled attempt is no attempt: it is
// made again, and not counted.
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

// ReachedOut reports whether the attempt got as far as contacting the endpoint, or what the endpoint cannot be reached without:
// its name server, proxy or token server. Only such an attempt says anything about the endpoint's health.
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
	// Status is the HTTP status, 0 where there was no answer.
	Status   int
	Duration time.Duration
	// Phases are what Duration consists of, as far as it was spent on the endpoint itself.
	Phases Phases
	// RetryAfter is how long the receiver asked to be left alone, at most MaxRetryAfter; 0 if it did not ask.
	RetryAfter time.Duration
	// AllowedRate is how many requests a minute the endpoint allowed in a handshake; 0 if it named no limit.
	AllowedRate int
	// Snippet is the beginning of a bad answer's body, at most MaxSnippetBytes of valid UTF-8 without NUL. It is the receiver's
	// text: show it to nobody but the relay's administrators.
	Snippet []byte
	// Err is nil only for ClassDelivered. It contains no part of a URL but its host, no header and no text of the receiver.
	Err error
}

// Invalid is the Outcome for an endpoint that Sender.Target refused.
func Invalid(err error) Outcome { return Outcome{Class: ClassInvalidEndpoint, Err: err} }

// WrongTenant is the Outcome for an event that must not reach the webhook.
func WrongTenant() Outcome {
	return Outcome{Class: ClassWrongTenant, Err: errors.New("the event is of another tenant than the webhook")}
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
