package webhook

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// SenderConfig configures a Sender. Its zero value is usable.
type SenderConfig struct {
	// Timeout bounds a whole attempt: name, connection, request and answer. 0 means 15 s.
	Timeout time.Duration
	// ConnectTimeout bounds resolving and connecting within it. 0 means 3 s.
	ConnectTimeout time.Duration
	// MaxIdlePerHost is how many idle connections to one host are kept. It should be at least the number of requests in
	// flight to it: with Go's default of 2 a TLS delivery costs ten times the CPU. Less than 256 means 256.
	MaxIdlePerHost int
	// MaxPayload is the largest body that is sent, in bytes; 0 is any.
	MaxPayload int64
	// AllowNetworks are the internal networks that may be reached.
	AllowNetworks []netip.Prefix
	// AllowHTTP allows URLs without TLS.
	AllowHTTP bool
	// Proxy is the egress proxy that all requests go through, as "http://user:password@host:port"; empty for none. See
	// CheckProxy.
	Proxy string
	// Origin is the name that the relay asks permission under. Empty means the host's name.
	Origin string
	// CloudEventsSource begins the source of CloudEvents. Empty means "iam-relay".
	CloudEventsSource string
	// Version goes into the User-Agent, as iam-relay/VERSION. Empty means "dev".
	Version string
	// RootCAs verify receivers; nil means the system's.
	RootCAs *x509.CertPool
	// Resolver resolves their names; nil means net.DefaultResolver.
	Resolver *net.Resolver
}

const (
	maxResponseHeaderBytes = 32 << 10
	idleConnTimeout        = 90 * time.Second
)

// Sender sends messages over shared pools of connections, one for all endpoints without TLS credentials of their own and one for
// each set of such credentials. It is safe for concurrent use.
type Sender struct {
	timeout    time.Duration
	maxPayload int64
	allowHTTP  bool
	userAgent  string
	origin     string
	source     string
	guard      *guard
	rootCAs    *x509.CertPool
	transport  *http.Transport // for endpoints without TLS credentials
	transports shared[http.Transport]
	tokens     shared[tokens]

	newTransport func(*tls.Config) *http.Transport
}

// NewSender returns a Sender. It is an error if an allowed network is none, or is everything, or if the proxy, the origin or the
// source cannot be used.
func NewSender(cfg SenderConfig) (*Sender, error) {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return nil, err
	}
	s := &Sender{
		timeout:    cmp.Or(cfg.Timeout, 15*time.Second),
		maxPayload: cfg.MaxPayload,
		allowHTTP:  cfg.AllowHTTP,
		userAgent:  "iam-relay/" + cmp.Or(cfg.Version, "dev"),
		origin:     cmp.Or(cfg.Origin, hostName()),
		source:     cmp.Or(cfg.CloudEventsSource, "iam-relay"),
		guard:      g,
		rootCAs:    cfg.RootCAs,
	}
	if !headerSafe(s.userAgent) {
		return nil, fmt.Errorf("version %q cannot be sent in a header", cfg.Version)
	}
	if err := CheckOrigin(s.origin); err != nil {
		return nil, err
	}
	if err := CheckCloudEventsSource(s.source); err != nil {
		return nil, err
	}
	c := &connector{
		direct: &net.Dialer{
			Timeout:  cmp.Or(cfg.ConnectTimeout, 3*time.Second),
			Control:  g.control,
			Resolver: cfg.Resolver,
		},
		timeout: s.timeout,
	}
	if c.proxy, err = newProxy(cfg.Proxy, c.direct); err != nil {
		return nil, err
	}
	s.newTransport = func(tlsConfig *tls.Config) *http.Transport {
		return newTransport(c, tlsConfig, max(cfg.MaxIdlePerHost, 256))
	}
	s.transport = s.newTransport(&tls.Config{RootCAs: cfg.RootCAs})
	return s, nil
}

// Close closes idle connections; those in use are closed as their attempts end.
func (s *Sender) Close() {
	s.transport.CloseIdleConnections()
	s.transports.each((*http.Transport).CloseIdleConnections)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || CheckOrigin(name) != nil {
		return "iam-relay"
	}
	return name
}

// newTransport returns a pool of connections that c makes.
func newTransport(c *connector, tlsConfig *tls.Config, idlePerHost int) *http.Transport {
	tlsConfig.MinVersion = tls.VersionTLS12
	tlsConfig.NextProtos = []string{"h2", "http/1.1"}
	t := &http.Transport{
		// Never a proxy of the environment: the guard would see the proxy's address instead of the receiver's.
		Proxy:                  nil,
		DialContext:            c.dial,
		DialTLSContext:         c.dialTLS(tlsConfig),
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		IdleConnTimeout:        idleConnTimeout,
		// All requests to a host share one HTTP/2 connection. Should its peer vanish, only a ping can tell.
		HTTP2: &http.HTTP2Config{SendPingTimeout: c.timeout, PingTimeout: 5 * time.Second},
	}
	if c.proxy != nil {
		// Requests without TLS are handed to the proxy whole; for the others dialTLS asks it for a tunnel.
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if req.URL.Scheme == "http" {
				return c.proxy.url, nil
			}
			return nil, nil
		}
	}
	return t
}
