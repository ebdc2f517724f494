package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// connector opens the connections of a Sender.
type connector struct {
	direct  *net.Dialer   // checks addresses with the guard
	proxy   *proxy        // nil if there is none
	timeout time.Duration // for a TLS handshake
}

// dial is the DialContext of a Transport. With a proxy, it connects to the proxy.
func (c *connector) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, _ = traceDial(ctx)
	return c.connect(ctx, network, addr)
}

func (c *connector) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.proxy != nil {
		return c.proxy.dial(ctx)
	}
	return c.direct.DialContext(ctx, network, addr)
}

// dialTLS returns the DialTLSContext of a Transport. Unlike Transport's own, it distinguishes errors of the handshake from those
// of the request. The handshake has its own deadline, because Transport continues to connect after the request that needed the
// connection has ended.
func (c *connector) dialTLS(cfg *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ctx, timing := traceDial(ctx)
		raw, err := c.connect(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		if c.proxy != nil {
			if err := c.proxy.tunnel(ctx, raw, addr); err != nil {
				_ = raw.Close() // tunnel's error is the one to report
				return nil, err
			}
		}
		cfg := cfg.Clone()
		cfg.ServerName = host
		conn := tls.Client(raw, cfg)
		timing.begin(&timing.tls)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // the handshake's error is the one to report
			return nil, &handshakeError{err}
		}
		timing.end(&timing.tls)
		return conn, nil
	}
}
