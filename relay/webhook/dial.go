package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// connector makes the connections of a Sender.
type connector struct {
	direct  *net.Dialer   // asks the guard
	proxy   *proxy        // nil for none
	timeout time.Duration // of a TLS handshake
}

// dial is a Transport's DialContext. With a proxy, the address is its own.
func (c *connector) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, _ = measureDial(ctx)
	return c.connect(ctx, network, addr)
}

func (c *connector) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.proxy != nil {
		return c.proxy.dial(ctx)
	}
	return c.direct.DialContext(ctx, network, addr)
}

// dialTLS does what Transport does by itself, except that it tells the errors of the handshake from those of the
// exchange. The handshake has a deadline of its own because Transport goes on connecting after the request that wanted
// the connection has ended.
func (c *connector) dialTLS(cfg *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ctx, timing := measureDial(ctx)
		raw, err := c.connect(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		if c.proxy != nil {
			if err := c.proxy.tunnel(ctx, raw, addr); err != nil {
				_ = raw.Close() // The refusal is the error to tell.
				return nil, err
			}
		}
		cfg := cfg.Clone()
		cfg.ServerName = host
		conn := tls.Client(raw, cfg)
		timing.begin(&timing.tls)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // The handshake's error is the one to tell.
			return nil, &handshakeError{err}
		}
		timing.end(&timing.tls)
		return conn, nil
	}
}
