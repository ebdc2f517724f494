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

// handshakeError is an error of the TLS handshake.
type handshakeError struct{ cause error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.cause.Error() }
func (e *handshakeError) Unwrap() error { return e.cause }

// failureOutcome returns the Outcome of an attempt without a response. Errors of net/http can quote the other side, which may echo
// our own headers, so every message here consists of known parts.
func failureOutcome(parent, ctx context.Context, timeout time.Duration, err error) Outcome {
	switch {
	case parent.Err() != nil:
		return Outcome{Class: ClassCanceled, Err: errors.New("the relay stopped before the response arrived")}
	case ctx.Err() != nil:
		return Outcome{Class: ClassTimeout, Err: fmt.Errorf("no response within %s", timeout)}
	}
	if hop, ok := errors.AsType[*proxyError](err); ok {
		o := failureOutcome(parent, ctx, timeout, hop.cause)
		o.Err = fmt.Errorf("proxy: %w", o.Err)
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
		// The deadline of a connection can expire just before that of the attempt.
		return Outcome{Class: ClassTimeout, Err: errors.New("no response in time")}
	}
	return Outcome{Class: ClassTransportError, Err: errors.New(transportReason(err))}
}

func dnsReason(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "no such host"
	case err.IsTimeout:
		return "the DNS server did not respond in time"
	}
	return "the DNS server failed"
}

func dialFailure(op *net.OpError) Outcome {
	where := "connect"
	if op.Addr != nil {
		where = "connect to " + op.Addr.String()
	}
	if op.Timeout() {
		return Outcome{Class: ClassTimeout, Err: fmt.Errorf("%s: no response in time", where)}
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
		return Outcome{Class: ClassTimeout, Err: errors.New("TLS handshake: no response in time")}
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
		return "the certificate cannot be verified"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](cause); ok {
		return "the server does not speak TLS on this port"
	}
	// "remote error" and "local error" contain an alert, whose text is from crypto/tls.
	if op, ok := errors.AsType[*net.OpError](cause); ok && (op.Op == "remote error" || op.Op == "local error") {
		return op.Err.Error()
	}
	if reason := disconnectReason(cause); reason != "" {
		return reason
	}
	return "no common protocol version or cipher, or an invalid message"
}

func transportReason(err error) string {
	if reason := disconnectReason(err); reason != "" {
		return reason
	}
	return "the response is not valid HTTP, or its headers are too large"
}

// disconnectReason returns how the connection ended, or "" if err is not about that.
func disconnectReason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return "the connection failed: " + errno.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return "the connection was closed before the response arrived"
	}
	return ""
}
