package webhook

import (
	"cmp"
	"context"
	"net"
)

// Probe connects as an attempt would, through the guard and with the TLS handshake, and sends nothing. With an egress proxy, a URL
// without TLS is tried as far as the proxy only. The error contains no part of the URL but its host.
func (s *Sender) Probe(parent context.Context, t *Target) error {
	ctx, cancel := context.WithTimeout(parent, s.timeout)
	defer cancel()
	dial, port := t.transport.DialTLSContext, "443"
	if t.url.Scheme == "http" {
		dial, port = t.transport.DialContext, "80"
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(t.url.Hostname(), cmp.Or(t.url.Port(), port)))
	if err != nil {
		return failure(parent, ctx, s.timeout, err).Err
	}
	return conn.Close()
}
