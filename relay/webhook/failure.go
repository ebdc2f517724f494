package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// handshakeError marks what went wrong between a connected socket and a usable TLS connection.
type handshakeError struct{ cause error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.cause.Error() }
func (e *handshakeError) Unwrap() error { return e.cause }

// failure makes the Outcome of an attempt that got no answer. Errors of net/http can repeat what the other side sent, which
// may be our own headers echoed, so every text here is made of known parts.
func failure(parent, ctx context.Context, timeout time.Duration, err error) Outcome {
	switch {
	case parent.Err() != nil:
		return Outcome{Class: ClassCanceled, Err: errors.New("the relay stopped before there was an answer")}
	case ctx.Err() != nil:
		return Outcome{Class: ClassTimeout, Err: fmt.Errorf("no answer within %s", timeout)}
	}
	if hop, ok := errors.AsType[*proxyError](err); ok {
		o := failure(parent, ctx, timeout, hop.cause)
		o.Err = fmt.Errorf("egress proxy: %w", o.Err)
		return o
	}
	if tunnel, ok := errors.AsType[*tunnelError](err); ok {
		return Outcome{Class: ClassConnectError, Err: tunnel}
	}
	if blocked, ok := errors.AsType[*blockedError](err); ok {
		return Outcome{Class: ClassSSRFBlocked, Err: blocked}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return Outcome{Class: ClassDNSError, Err: fmt.Errorf("look up %s: %s", dns.Name, dnsReason(dns))}
	}
	if hs, ok := errors.AsType[*handshakeError](err); ok {
		return tlsFailure(hs.cause)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return dialFailure(op)
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		// A connection's own deadline can be a moment ahead of the attempt's.
		return Outcome{Class: ClassTimeout, Err: errors.New("no answer in time")}
	}
	return Outcome{Class: ClassTransportError, Err: errors.New(transportReason(err))}
}

func dnsReason(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "no such host"
	case err.IsTimeout:
		return "the name server did not answer in time"
	}
	return "the name server failed"
}

func dialFailure(op *net.OpError) Outcome {
	where := "connect"
	if op.Addr != nil {
		where = "connect to " + op.Addr.String()
	}
	if op.Timeout() {
		return Outcome{Class: ClassTimeout, Err: fmt.Errorf("%s: no answer in time", where)}
	}
	errno, ok := errors.AsType[syscall.Errno](op.Err)
	switch {
	case !ok:
		return Outcome{Class: ClassConnectError, Err: fmt.Errorf("%s: failed", where)}
	case errno == syscall.ECONNREFUSED:
		return Outcome{Class: ClassConnectRefused, Err: fmt.Errorf("%s: %w", where, errno)}
	}
	return Outcome{Class: ClassConnectError, Err: fmt.Errorf("%s: %w", where, errno)}
}

func tlsFailure(cause error) Outcome {
	if netErr, ok := errors.AsType[net.Error](cause); errors.Is(cause, context.DeadlineExceeded) || ok && netErr.Timeout() {
		return Outcome{Class: ClassTimeout, Err: errors.New("TLS handshake: no answer in time")}
	}
	return Outcome{Class: ClassTLSError, Err: fmt.Errorf("TLS handshake: %s", tlsReason(cause))}
}

func tlsReason(cause error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](cause); ok && invalid.Reason == x509.Expired {
		return "the certificate has expired or is not yet valid"
	}
	if _, ok := errors.AsType[x509.HostnameError](cause); ok {
		return "the certificate is for another host"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](cause); ok {
		return "the certificate is signed by an unknown authority"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](cause); ok {
		return "the certificate does not verify"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](cause); ok {
		return "the server does not speak TLS on this port"
	}
	// "remote error" and "local error" carry an alert, whose text is one of crypto/tls's own.
	if op, ok := errors.AsType[*net.OpError](cause); ok && (op.Op == "remote error" || op.Op == "local error") {
		return op.Err.Error()
	}
	if reason := brokenReason(cause); reason != "" {
		return reason
	}
	return "no common protocol version or cipher, or an invalid message"
}

func transportReason(err error) string {
	if reason := brokenReason(err); reason != "" {
		return reason
	}
	return "the answer was not valid HTTP, or its headers were too large"
}

// brokenReason names how a connection ended, or returns "".
func brokenReason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return "the connection broke: " + errno.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return "the connection was closed before there was an answer"
	}
	return ""
}
