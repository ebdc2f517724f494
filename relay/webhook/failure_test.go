package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
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
	"syscall"
	"testing"
	"time"
)

// serveRaw listens on loopback, reads the headers of each request, and passes the connection to answer.
func serveRaw(t *testing.T, answer func(conn net.Conn, header http.Header)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				answer(conn, req.Header)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestSend_Failures(t *testing.T) {
	t.Parallel()
	plain := receiver(t, func(http.ResponseWriter, *http.Request) {})
	tlsServer := func(change func(*tls.Config)) *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.TLS = &tls.Config{}
		if change != nil {
			change(srv.TLS)
		}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	oldTLS := tlsServer(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 })
	goodTLS := tlsServer(nil)
	wantsCert := tlsServer(func(c *tls.Config) {
		c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	})
	refused := closedPort(t)
	silent := serveRaw(t, func(conn net.Conn, _ http.Header) { _, _ = io.Copy(io.Discard, conn) })
	mute := silentTCP(t)

	for _, tt := range []struct {
		name   string
		url    string
		change func(*SenderConfig)
		class  Class
		text   string
	}{
		{"hangs before the answer", silent, short, ClassTimeout, "no response within 300ms"},
		{"hangs in the handshake", "https://" + mute, short, ClassTimeout, "no response"},
		{"refused", "http://" + refused, nil, ClassConnectRefused, "connection refused"},
		{"unknown name", "https://nowhere.invalid/", answering(t, dnsNoName), ClassDNSError, "look up nowhere.invalid: no such host"},
		{"name server fails", "https://broken.invalid/", answering(t, dnsServFail), ClassDNSError, "DNS server"},
		{"silent name server", "https://slow.example/", both(short, answering(t, dnsSilence)), ClassTimeout, "no response within"},
		{"name of an internal address", "http://inside.example/", answering(t, dnsA("10.0.0.7")), ClassSSRFBlocked, "10.0.0.7"},
		{"name of the metadata address", "https://inside.example/", answering(t, dnsA("169.254.169.254")), ClassSSRFBlocked, "allow_networks"},
		{"old TLS", oldTLS.URL, trust(oldTLS), ClassTLSError, "protocol version"},
		{"unknown authority", goodTLS.URL, nil, ClassTLSError, "unknown authority"},
		{"other host", strings.Replace(goodTLS.URL, "127.0.0.1", "other.example", 1), both(trust(goodTLS), answering(t, dnsA("127.0.0.1"))), ClassTLSError, "another host"},
		{"client certificate wanted", wantsCert.URL, trust(wantsCert), ClassTLSError, "TLS handshake"},
		{"no TLS there", strings.Replace(plain.URL, "http://", "https://", 1), nil, ClassTLSError, "does not speak TLS"},
		{"closes without an answer", serveRaw(t, func(net.Conn, http.Header) {}), nil, ClassTransportError, "closed"},
		{"no HTTP", serveRaw(t, says("SSH-2.0-x\r\n\r\n")), nil, ClassTransportError, "not valid HTTP"},
		{"headers too large", serveRaw(t, says("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")), nil, ClassTransportError, "too large"},
		{"headers without end", serveRaw(t, endless), nil, ClassTransportError, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := sender(t, tt.change)
			o := s.Send(t.Context(), target(t, s, Endpoint{URL: tt.url}), message())
			if o.Class != tt.class || o.Err == nil || !strings.Contains(o.Err.Error(), tt.text) {
				t.Errorf("outcome = %+v, want %s with %q", o, tt.class, tt.text)
			}
			if !slices.Contains(Classes(), o.Class) || o.Status != 0 {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
}

func short(cfg *SenderConfig) { cfg.Timeout = 300 * time.Millisecond }

func both(a, b func(*SenderConfig)) func(*SenderConfig) {
	return func(cfg *SenderConfig) {
		a(cfg)
		b(cfg)
	}
}

func says(text string) func(net.Conn, http.Header) {
	return func(conn net.Conn, _ http.Header) { _, _ = io.WriteString(conn, text) }
}

func endless(conn net.Conn, _ http.Header) {
	_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
	for i := 0; err == nil; i++ {
		_, err = fmt.Fprintf(conn, "X-%d: %d\r\n", i, i)
	}
}

// closedPort returns an address whose port is reserved until the test ends, and on which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", addr.(*syscall.SockaddrInet4).Port)
}

// silentTCP accepts connections and never writes.
func silentTCP(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// DNS rebinding: a name that first resolves to an allowed address and then to an internal one is checked at each connection.
func TestSend_DNSRebinding(t *testing.T) {
	t.Parallel()
	var received atomic.Int32
	srv := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		received.Add(1)
		w.Header().Set("Connection", "close")
	})
	var lookups atomic.Int32
	s := sender(t, answering(t, func(query []byte) []byte {
		if lookups.Load() == 0 && isA(query) {
			lookups.Add(1)
			return dnsA("127.0.0.1")(query)
		}
		return dnsA("127.0.0.2")(query)
	}))
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	to := target(t, s, Endpoint{URL: "http://rebind.example:" + port})
	if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
		t.Fatalf("first: %+v", o)
	}
	if o := s.Send(t.Context(), to, message()); o.Class != ClassSSRFBlocked || !strings.Contains(o.Err.Error(), "127.0.0.2") {
		t.Errorf("second: %+v", o)
	}
	if n := received.Load(); n != 1 {
		t.Errorf("received %d, want 1", n)
	}
}

// A receiver echoes the request where net/http quotes the response; no error may contain it.
func TestSend_ErrorsContainNoSecrets(t *testing.T) {
	t.Parallel()
	echo := func(format string) string {
		return serveRaw(t, func(conn net.Conn, h http.Header) {
			_, _ = fmt.Fprintf(conn, format, h.Get("Authorization")+" "+h.Get("Webhook-Signature"))
		})
	}
	for _, url := range []string{
		echo("HTTP/1.1 %s\r\n\r\n"), echo("%s\r\n\r\n"), echo("HTTP/1.1 200 OK\r\n%s\r\n\r\n"), echo("HTTP/1.1 500 %s\r\n\r\n"),
		echo("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n"), echo("HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n"),
		"http://" + closedPort(t), "http://nowhere.invalid",
	} {
		s := sender(t, both(short, answering(t, dnsNoName)))
		to := target(t, s, Endpoint{
			URL:     url + "/sesame?token=sesame",
			Headers: map[string]string{"Authorization": "sesame"},
			Secrets: []Secret{"sesame and sesame"},
		})
		m := message()
		m.Body = []byte(`"sesame"`)
		o := s.Send(t.Context(), to, m)
		if o.Err == nil {
			t.Fatalf("%s: outcome = %+v", url, o)
		}
		for _, text := range []string{o.Err.Error(), fmt.Sprintf("%+v %#v", o.Err, o.Err)} {
			if strings.Contains(text, "sesame") || strings.Contains(text, "v1,") {
				t.Errorf("%s: the error contains part of the request: %s", url, text)
			}
		}
	}
}

// answering returns a resolver that uses a DNS server of the test.
func answering(t *testing.T, answer func(query []byte) []byte) func(*SenderConfig) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := answer(buffer[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return func(cfg *SenderConfig) {
		cfg.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			client, err := (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
			if err == nil {
				// Otherwise an abandoned lookup would continue after the test.
				context.AfterFunc(t.Context(), func() { _ = client.Close() })
			}
			return client, err
		}}
	}
}

// question returns the offset after the question of a query (RFC 1035, section 4.1.2).
func question(query []byte) int {
	i := 12
	for query[i] != 0 {
		i += int(query[i]) + 1
	}
	return i + 5
}

func isA(query []byte) bool { return binary.BigEndian.Uint16(query[question(query)-4:]) == 1 }

func dnsReply(query []byte, code byte, answers uint16) []byte {
	reply := slices.Clone(query[:question(query)])
	reply[2], reply[3] = 0x81, 0x80|code
	binary.BigEndian.PutUint16(reply[6:], answers)
	clear(reply[8:12])
	return reply
}

func dnsNoName(query []byte) []byte   { return dnsReply(query, 3, 0) }
func dnsSilence([]byte) []byte        { return nil }
func dnsServFail(query []byte) []byte { return dnsReply(query, 2, 0) }

// dnsA responds with one IPv4 address and a TTL of 0.
func dnsA(addr string) func(query []byte) []byte {
	return func(query []byte) []byte {
		if !isA(query) {
			return dnsReply(query, 0, 0)
		}
		record := append([]byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4}, netip.MustParseAddr(addr).AsSlice()...)
		return append(dnsReply(query, 0, 1), record...)
	}
}
