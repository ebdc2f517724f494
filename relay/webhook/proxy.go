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

// proxy is the HTTP proxy for all requests. The guard does not check its address, which is configured and usually internal, and
// cannot check those of the receivers, which the proxy resolves. The proxy itself must block internal addresses.
type proxy struct {
	url           *url.URL
	address       string // host:port
	authorization string // value of the Proxy-Authorization header; may be empty
	dialer        net.Dialer
}

// CheckProxy returns why rawURL cannot be SenderConfig.Proxy. The error does not contain the URL, which may hold a password.
func CheckProxy(rawURL string) error {
	_, err := newProxy(rawURL, &net.Dialer{})
	return err
}

// newProxy returns nil for an empty URL. Like provides the timeout and resolver.
func newProxy(rawURL string, like *net.Dialer) (*proxy, error) {
	if rawURL == "" {
		return nil, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" || strings.Trim(u.Path, "/") != "" ||
		strings.ContainsAny(rawURL, "?#") {
		return nil, errors.New(`must be "http://host:port" or "http://user:password@host:port", with special characters percent-encoded`)
	}
	port := cmp.Or(u.Port(), "80")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("must have a port between 1 and 65535")
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

// proxyError is an error between the relay and its proxy.
type proxyError struct{ cause error }

func (e *proxyError) Error() string { return "proxy: " + e.cause.Error() }
func (e *proxyError) Unwrap() error { return e.cause }

// tunnelError reports that the proxy refused a tunnel. It omits the reason phrase, which may quote the request.
type tunnelError struct{ status int }

func (e *tunnelError) Error() string {
	return fmt.Sprintf("CONNECT failed with status %d", e.status)
}

func (p *proxy) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, &proxyError{err}
	}
	return conn, nil
}

// tunnel asks the proxy to connect conn to addr (RFC 9110, section 9.3.6). Transport can do this too, but its errors do not
// distinguish a proxy that refuses from a receiver whose certificate cannot be verified.
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
	response := bufio.NewReader(io.LimitReader(conn, maxResponseHeaderBytes))
	res, err := http.ReadResponse(response, req) //nolint:bodyclose // a response to CONNECT has no body; the tunnel follows
	if err != nil {
		return &proxyError{err}
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return &proxyError{&tunnelError{res.StatusCode}}
	}
	if response.Buffered() > 0 {
		return &proxyError{errors.New("it sent data before the request")}
	}
	return nil
}
