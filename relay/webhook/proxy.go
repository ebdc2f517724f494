package webhook

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// proxy is the way out for all requests. The guard is not asked for its address, which somebody configured and which tends to be
// internal; nor can it see those of the receivers, which the proxy resolves. Keeping the proxy from internal addresses is the
// business of the proxy.
type proxy struct {
	url           *url.URL
	address       string // host:port
	authorization string // of the Proxy-Authorization header, or empty
	dialer        net.Dialer
}

// CheckProxy reports why a URL cannot be SenderConfig.Proxy, without repeating it: it may hold a password.
func CheckProxy(rawURL string) error {
	_, err := newProxy(rawURL, &net.Dialer{})
	return err
}

// newProxy returns nil for an empty URL.
func newProxy(rawURL string, like *net.Dialer) (*proxy, error) {
	if rawURL == "" {
		return nil, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" || strings.Trim(u.Path, "/") != "" ||
		strings.ContainsAny(rawURL, "?#") {
		return nil, errors.New(`the proxy must be written as "http://host:port" or "http://user:password@host:port", with special characters percent-encoded`)
	}
	port := cmp.Or(u.Port(), "80")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("the proxy's port must be a number from 1 to 65535")
	}
	p := &proxy{
		url:     &url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host},
		address: net.JoinHostPort(u.Hostname(), port),
		dialer:  net.Dialer{Timeout: like.Timeout, Resolver: like.Resolver},
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, nil
}

// proxyError marks what went wrong between the relay and its proxy.
type proxyError struct{ cause error }

func (e *proxyError) Error() string { return "egress proxy: " + e.cause.Error() }
func (e *proxyError) Unwrap() error { return e.cause }

// tunnelError is the proxy's refusal of a tunnel. Its reason phrase is not repeated: it may quote what was asked.
type tunnelError struct{ status int }

func (e *tunnelError) Error() string {
	return fmt.Sprintf("CONNECT was answered with status %d", e.status)
}

func (p *proxy) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, &proxyError{err}
	}
	return conn, nil
}

// tunnel asks the proxy to connect conn on to addr (RFC 9110, section 9.3.6). Transport can do that itself, but then makes one
// kind of error of a proxy that refuses and of a receiver whose certificate does not verify.
func (p *proxy) tunnel(ctx context.Context, conn net.Conn, addr string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if p.authorization != "" {
		req.Header.Set("Proxy-Authorization", p.authorization)
	}
	if err := req.Write(conn); err != nil {
		return &proxyError{err}
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxResponseHeaderBytes))
	res, err := http.ReadResponse(answer, req) //nolint:bodyclose // The answer to CONNECT has none: what follows is the tunnel.
	if err != nil {
		return &proxyError{err}
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return &proxyError{&tunnelError{res.StatusCode}}
	}
	if answer.Buffered() > 0 {
		return &proxyError{errors.New("it says something before it is asked")}
	}
	return nil
}
