package webhook

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// egress is a proxy that connects all names to the same address, like one with access to another network.
type egress struct {
	url string
	to  string // the address that all connections go to

	mu     sync.Mutex
	asked  []string // method and target of each request
	header http.Header
	refuse int // status of its answers, 0 for none
}

func newEgress(t *testing.T, to string) *egress {
	t.Helper()
	e := &egress{to: to}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	e.url = srv.URL
	return e
}

func (e *egress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.asked = append(e.asked, r.Method+" "+r.RequestURI)
	e.header = r.Header.Clone()
	refuse := e.refuse
	e.mu.Unlock()
	if refuse != 0 {
		http.Error(w, "sesame", refuse)
		return
	}
	if r.Method != http.MethodConnect {
		r.Header.Del("Proxy-Authorization")
		r.URL.Host, r.RequestURI = e.to, ""
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		return
	}
	far, err := net.Dial("tcp", e.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connected\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, buffered)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

func (e *egress) requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.asked)
}

func TestSend_Proxy(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var got *http.Request
	handle := func(_ http.ResponseWriter, r *http.Request) { got = r }
	secure, plain := a.serveTLS(t, tls.NoClientCert, handle), receiver(t, handle)

	// Only the proxy can resolve the names, and no internal network is allowed.
	via := newEgress(t, secure.Listener.Addr().String())
	s := sender(t, func(cfg *SenderConfig) {
		cfg.Proxy = strings.Replace(via.url, "http://", "http://relay:s%20same@", 1)
		cfg.AllowNetworks = nil
	})
	to := target(t, s, Endpoint{URL: "https://receiver.example/hook?key=1", Credentials: Credentials{CA: a.pem}})
	for range 2 {
		if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
			t.Fatalf("outcome = %+v", o)
		}
	}
	if want := []string{"CONNECT receiver.example:443"}; !slices.Equal(via.requests(), want) {
		t.Errorf("the proxy was asked for %q, want %q", via.requests(), want)
	}
	if got.Host != "receiver.example" || got.RequestURI != "/hook?key=1" || got.Header.Get("Proxy-Authorization") != "" {
		t.Errorf("request = %s %s %v", got.Host, got.RequestURI, got.Header)
	}
	if want := "Basic cmVsYXk6cyBzYW1l"; via.header.Get("Proxy-Authorization") != want {
		t.Errorf("authorization = %q", via.header.Get("Proxy-Authorization"))
	}
	if err := s.Probe(t.Context(), to); err != nil {
		t.Errorf("probe: %v", err)
	}
	// The receiver's certificate is verified through the tunnel.
	if o := s.Send(t.Context(), target(t, s, Endpoint{URL: "https://other.example/", Credentials: Credentials{CA: a.pem}}), message()); o.Class != ClassTLSError {
		t.Errorf("other host: %+v", o)
	}

	open := newEgress(t, plain.Listener.Addr().String())
	s = sender(t, func(cfg *SenderConfig) {
		cfg.Proxy, cfg.AllowNetworks = strings.Replace(open.url, "http://", "http://relay:same@", 1), nil
	})
	if o := s.Send(t.Context(), target(t, s, Endpoint{URL: "http://receiver.example:8080/hook"}), message()); o.Class != ClassDelivered {
		t.Errorf("without TLS: %+v", o)
	}
	if want := []string{"POST http://receiver.example:8080/hook"}; !slices.Equal(open.requests(), want) {
		t.Errorf("the proxy was asked for %q, want %q", open.requests(), want)
	}
	if want := "Basic cmVsYXk6c2FtZQ=="; open.header.Get("Proxy-Authorization") != want || got.Header.Get("Proxy-Authorization") != "" {
		t.Errorf("authorization = %q, and %q for the receiver", open.header.Get("Proxy-Authorization"), got.Header.Get("Proxy-Authorization"))
	}
	// Internal addresses in the URL itself are still rejected.
	for _, url := range []string{"https://127.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "https://localhost/", "https://0x7f.1/"} {
		if _, err := s.Target(&Endpoint{URL: url}); err == nil {
			t.Errorf("%s is valid", url)
		}
	}
}

func TestSend_ProxyFailures(t *testing.T) {
	t.Parallel()
	through := func(url string) func(*SenderConfig) {
		return func(cfg *SenderConfig) { cfg.Proxy, cfg.AllowNetworks = url, nil }
	}
	refusing := newEgress(t, "127.0.0.1:1")
	refusing.refuse = http.StatusForbidden
	for _, tt := range []struct {
		name   string
		url    string
		change func(*SenderConfig)
		class  Class
		text   string
	}{
		{"not there", "https://receiver.example", through("http://" + closedPort(t)), ClassConnectRefused, "proxy: connect to 127.0.0.1:"},
		{"not there, without TLS", "http://receiver.example", through("http://" + closedPort(t)), ClassConnectRefused, "proxy: connect to 127.0.0.1:"},
		{"unknown", "https://receiver.example", both(through("http://proxy.invalid:3128"), answering(t, dnsNoName)), ClassDNSError, "proxy: look up proxy.invalid"},
		{"refuses", "https://receiver.example", through(refusing.url), ClassConnectError, "proxy: CONNECT failed with status 403"},
		{"cannot connect", "https://receiver.example", through(newEgress(t, closedPort(t)).url), ClassConnectError, "status 502"},
		{"hangs", "https://receiver.example", both(short, through("http://"+silentTCP(t))), ClassTimeout, "no response"},
		{"hangs up", "https://receiver.example", through(serveRaw(t, func(net.Conn, http.Header) {})), ClassTransportError, "proxy: the connection was closed"},
		{"no proxy", "https://receiver.example", through(serveRaw(t, says("SSH-2.0-x\r\n\r\n"))), ClassTransportError, "proxy: the response is not valid HTTP"},
		{"endless headers", "https://receiver.example", through(serveRaw(t, endless)), ClassTransportError, "proxy: "},
		{"speaks first", "https://receiver.example", through(serveRaw(t, says("HTTP/1.1 200 OK\r\n\r\nhello"))), ClassTransportError, "proxy: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := sender(t, tt.change)
			o := s.Send(t.Context(), target(t, s, Endpoint{URL: tt.url + "/sesame"}), message())
			if o.Class != tt.class || o.Err == nil || !strings.Contains(o.Err.Error(), tt.text) || strings.Contains(o.Err.Error(), "sesame") {
				t.Errorf("outcome = %+v, want %s with %q", o, tt.class, tt.text)
			}
		})
	}
}

func TestCheckProxy(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"", "http://proxy", "http://proxy:3128", "http://proxy:3128/", "http://user:p%40ss@10.0.0.1:3128", "http://[fd00::1]:3128"} {
		if err := CheckProxy(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"proxy:3128", "https://sesame:3128", "socks5://sesame:1080", "http://", "http://:3128", "http://user:sesame@proxy:0", "http://user:sesame@proxy:70000",
		"http://proxy:3128/sesame", "http://proxy?sesame", "http://proxy#sesame", "http://user:ses/ame@proxy:3128", "http://proxy:",
	} {
		_, err := NewSender(SenderConfig{Proxy: bad})
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

// The guard does not apply to the address of the proxy.
func TestSend_ProxyIsExemptFromGuard(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	srv := a.serveTLS(t, tls.NoClientCert, func(http.ResponseWriter, *http.Request) {})
	via := newEgress(t, srv.Listener.Addr().String())
	for name, networks := range map[string][]netip.Prefix{"nothing allowed": nil, "something else": {netip.MustParsePrefix("10.0.0.0/8")}} {
		s := sender(t, func(cfg *SenderConfig) { cfg.Proxy, cfg.AllowNetworks = via.url, networks })
		if o := s.Send(t.Context(), target(t, s, Endpoint{URL: "https://receiver.example", Credentials: Credentials{CA: a.pem}}), message()); o.Class != ClassDelivered {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
