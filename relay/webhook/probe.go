package webhook

import (
	"cmp"
	"context"
	"net"
)

// Probe connects like an attempt, including the guard and the TLS handshake, but sends nothing. With a proxy and a URL without TLS,
// it connects to the proxy only. The error contains no part of the URL except the host.
func (s *Sender) Probe(parent context.Context, t *Target) error {
	ctx, cancel := context.WithTimeout(parent, s.timeout)
	defer cancel()
	dial, port := t.transport.DialTLSContext, "443"
	if t.url.Scheme == "http" {
		dial, port = t.transport.DialContext, "80"
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(t.url.Hostname(), cmp.Or(t.url.Port(), port)))
	if err != nil {
		return failureOutcome(parent, ctx, s.timeout, err).Err
	}
	return conn.Close()
}
