package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Attacks by receivers, and by users who may define webhooks. Related tests in other files:
//   - TestGuard_DeniedRanges, TestCheckURL: addresses, numeric hosts, user names, fragments, zones, ports
//   - TestSecurity_HostSpellings, TestSecurity_UsesTheCheckedHost: IDNA and other spellings
//   - TestSend_DNSRebinding
//   - TestCheckHeaders: reserved and malformed headers
//   - TestSend_EndlessBody
//   - TestSend_ErrorsContainNoSecrets, TestSend_OAuth2Failures: secrets in errors
//   - TestVerify: replay and comparison

// A name is blocked by the addresses it resolves to, in any form.
func TestSecurity_ResolvedAddress(t *testing.T) {
	t.Parallel()
	six, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		_ = six.Close()
	}
	for name, addr := range map[string]string{
		"loopback": "127.0.0.2", "this host": "0.0.0.0", "private": "192.168.1.1", "link-local": "169.254.1.1", "metadata": "169.254.169.254",
		"carrier-grade NAT": "100.64.0.1", "Alibaba's metadata": "100.100.100.200", "Oracle's metadata": "192.0.0.192",
		"Azure's agent": "168.63.129.16", "benchmarks": "198.18.0.1", "multicast": "224.0.0.1", "broadcast": "255.255.255.255",
		"IPv6 loopback": "::1", "IPv6 unspecified": "::", "unique local": "fd00::1", "Amazon's metadata": "fd00:ec2::254", "IPv6 link-local": "fe80::1",
		"IPv4-mapped": "::ffff:127.0.0.2", "IPv4-compatible": "::7f00:2", "NAT64": "64:ff9b::7f00:2", "local NAT64": "64:ff9b:1::7f00:2",
		"6to4": "2002:7f00:2::1", "Teredo": "2001:0:7f00:2::1", "documentation": "2001:db8::1", "SRv6": "5f00::1", "IPv6 multicast": "ff02::1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ip := netip.MustParseAddr(addr)
			if ip.Is6() && !ip.Is4In6() && err != nil {
				t.Skip("no IPv6 here")
			}
			s := sender(t, answering(t, dnsAddress(ip)))
			for _, scheme := range []string{"http", "https"} {
				o := s.Send(t.Context(), target(t, s, Endpoint{URL: scheme + "://inside.example:9"}), message())
				if o.Class != ClassSSRFBlocked || o.Class.Verdict() != Permanent {
					t.Errorf("%s: %+v", scheme, o)
				}
			}
		})
	}
}

// dnsAddress responds to the query for the type of the address.
func dnsAddress(addr netip.Addr) func(query []byte) []byte {
	if addr.Is4() {
		return dnsA(addr.String())
	}
	return func(query []byte) []byte {
		if isA(query) {
			return dnsReply(query, 0, 0)
		}
		record := append([]byte{0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16}, addr.AsSlice()...)
		return append(dnsReply(query, 0, 1), record...)
	}
}

// One deadline covers the attempt up to the end of the headers.
func TestSecurity_SlowHeaders(t *testing.T) {
	t.Parallel()
	for name, pieces := range map[string][2]string{
		"status line":     {"HTTP/1.1 200 ", "O"},
		"headers":         {"HTTP/1.1 200 OK\r\n", "X: 1\r\n"},
		"one header":      {"HTTP/1.1 200 OK\r\nX: ", "1"},
		"interim answers": {"", "HTTP/1.1 102 Processing\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serveRaw(t, func(conn net.Conn, _ http.Header) {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				_, err := io.WriteString(conn, pieces[0])
				for err == nil {
					<-tick.C
					_, err = io.WriteString(conn, pieces[1])
				}
			})
			s := sender(t, short)
			o := s.Send(t.Context(), target(t, s, Endpoint{URL: url}), message())
			// net/http also limits the number of interim responses, which may be reached first.
			if o.Class != ClassTimeout && (o.Class != ClassTransportError || name != "interim answers") || o.Duration > 5*time.Second {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
}

// Decompression bomb: the sender neither requests nor decompresses compressed responses.
func TestSecurity_CompressedResponse(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var asked http.Header
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(bomb.Bytes())
	})
	s := sender(t, nil)
	o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message())
	if o.Class != ClassHTTP5xx || !bytes.HasPrefix(o.Snippet, []byte("\x1f\uFFFD")) || len(o.Snippet) > MaxSnippetBytes {
		t.Errorf("outcome = %+v", o)
	}
	if asked.Get("Accept-Encoding") != "" {
		t.Errorf("accept-encoding = %q", asked.Get("Accept-Encoding"))
	}
}

// Values from the database cannot inject headers or a second request.
func TestSecurity_HeaderInjection(t *testing.T) {
	t.Parallel()
	const evil = "a\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
	var requests atomic.Int32
	var got http.Header
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		got = r.Header
	})
	s := sender(t, origin)
	to := target(t, s, Endpoint{URL: srv.URL, Options: Options{CloudEvents: true, Handshake: true}, Secrets: []Secret{testSecret}})
	m := message()
	m.Event, m.Tenant, m.Resource = evil, evil, evil
	if o := s.Send(t.Context(), to, m); o.Class != ClassDelivered {
		t.Fatalf("outcome = %+v", o)
	}
	if got.Get("X-Evil") != "" || got.Get("Ce-Subject") == "" || requests.Load() != 1 {
		t.Errorf("%d requests, headers %v", requests.Load(), got)
	}
	for _, broken := range []func(*Message){func(m *Message) { m.ID = evil }, func(m *Message) { m.DeliveryID = evil }} {
		m := message()
		broken(m)
		if o := s.Send(t.Context(), to, m); o.Class == ClassDelivered || strings.Contains(o.Err.Error(), "Evil") {
			t.Errorf("outcome = %+v", o)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// No redirect is followed.
func TestSecurity_Redirects(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	inside := receiver(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(status)
	})
	s := sender(t, nil)
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for _, to := range []string{inside.URL, "http://169.254.169.254/latest/meta-data", "https://10.0.0.1/", "//localhost/", "/200", "file:///etc/passwd"} {
			url := fmt.Sprintf("%s/%d?to=%s", srv.URL, status, to)
			if o := s.Send(t.Context(), target(t, s, Endpoint{URL: url}), message()); o.Class != ClassHTTP3xx || o.Status != status {
				t.Errorf("%d to %s: %+v", status, to, o)
			}
		}
	}
	if reached.Load() {
		t.Error("a redirect was followed")
	}
}

func TestSecurity_TLSVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[uint16]Class{
		tls.VersionTLS10: ClassTLSError, tls.VersionTLS11: ClassTLSError, tls.VersionTLS12: ClassDelivered, tls.VersionTLS13: ClassDelivered,
	} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		s := sender(t, trust(srv))
		if o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message()); o.Class != want {
			t.Errorf("%s: %+v", tls.VersionName(version), o)
		}
	}
}

// HTTP_PROXY and HTTPS_PROXY are ignored, for receivers and for token servers.
func TestSecurity_IgnoresEnvironmentProxies(t *testing.T) {
	via := newEgress(t, "127.0.0.1:1")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, via.url)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	srv := receiver(t, func(http.ResponseWriter, *http.Request) {})
	ts := newTokenServer(t)
	named := func(url string) string { return strings.Replace(url, "127.0.0.1", "receiver.example", 1) }
	s := sender(t, answering(t, dnsA("127.0.0.1")))
	ts.url = named(ts.url)
	if o := s.Send(t.Context(), target(t, s, ts.endpoint(named(srv.URL))), message()); o.Class != ClassDelivered {
		t.Errorf("outcome = %+v", o)
	}
	if asked := via.requests(); len(asked) > 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// The guard applies to token servers too, at each connection.
func TestSecurity_TokenServerDNSRebinding(t *testing.T) {
	t.Parallel()
	ts := newTokenServer(t)
	ts.expires = 1 // each delivery asks for a new one
	ts.url = strings.Replace(ts.url, "127.0.0.1", "idp.example", 1)
	srv := receiver(t, func(http.ResponseWriter, *http.Request) {})
	var inside atomic.Bool
	s := sender(t, answering(t, func(query []byte) []byte {
		if inside.Load() {
			return dnsA("10.0.0.7")(query)
		}
		return dnsA("127.0.0.1")(query)
	}))
	to := target(t, s, ts.endpoint(srv.URL))
	if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
		t.Fatalf("first: %+v", o)
	}
	inside.Store(true)
	s.Close() // or the connection of the first would serve again
	if o := s.Send(t.Context(), to, message()); o.Class != ClassTokenError || !strings.Contains(o.Err.Error(), "10.0.0.7") {
		t.Errorf("second: %+v", o)
	}
}

// Printing an Endpoint, a Target or a Sender does not reveal credentials.
func TestSecurity_CredentialsAreRedacted(t *testing.T) {
	t.Parallel()
	e := Endpoint{Credentials: Credentials{
		CA: "sesame", ClientCert: "sesame", ClientKey: "sesame", Bearer: "sesame", OAuth2: &OAuth2{ClientSecret: "sesame"},
	}}
	for _, text := range []string{fmt.Sprint(e), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), fmt.Sprintf("%v", e.Credentials)} {
		if strings.Contains(text, "sesame") {
			t.Errorf("a secret is printed: %s", text)
		}
	}
}

// One deadline covers the whole attempt, including the token server and the proxy.
func TestSecurity_OneDeadline(t *testing.T) {
	t.Parallel()
	silent := silentTCP(t)
	ts := newTokenServer(t)
	ts.url = "http://" + silent
	for name, change := range map[string]func(*SenderConfig){
		"token server": short,
		"proxy":        both(short, func(cfg *SenderConfig) { cfg.Proxy = "http://" + silent }),
	} {
		s := sender(t, change)
		e := Endpoint{URL: "https://receiver.example"}
		if name == "token server" {
			e = ts.endpoint("https://receiver.example")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		o := s.Send(ctx, target(t, s, e), message())
		cancel()
		if !slices.Contains([]Class{ClassTimeout, ClassTokenError}, o.Class) || o.Duration > 5*time.Second {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
