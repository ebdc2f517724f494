package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority is a certificate authority for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	certPEM, key := a.issue(t, "authority", true)
	block, _ := pem.Decode([]byte(certPEM))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key, a.pem = cert, key, certPEM
	return a
}

// issue creates a certificate for 127.0.0.1, signed by the authority or, if that has no certificate yet, self-signed.
func (a *authority) issue(t *testing.T, name string, isCA bool) (string, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"receiver.example"},
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key
}

// pair returns a certificate and its key in PEM.
func (a *authority) pair(t *testing.T, name string) (cert, key string) {
	t.Helper()
	cert, private := a.issue(t, name, false)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// serveTLS starts a receiver with a certificate of the authority that requires client certificates.
func (a *authority) serveTLS(t *testing.T, auth tls.ClientAuthType, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	cert, key := a.pair(t, "receiver")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(handle)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: auth, ClientCAs: pool}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func TestSend_EndpointCA(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	srv := ours.serveTLS(t, tls.NoClientCert, func(http.ResponseWriter, *http.Request) {})
	s := sender(t, nil)
	// Valid ones first: their connections must not be reused with other credentials.
	for _, tt := range []struct {
		name, ca string
		want     Class
	}{
		{"its own", ours.pem, ClassDelivered},
		{"both", other.pem + ours.pem, ClassDelivered},
		{"and text", "the receiver's\n" + ours.pem, ClassDelivered},
		{"another", other.pem, ClassTLSError},
		{"the system's", "", ClassTLSError},
	} {
		o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL, Credentials: Credentials{CA: tt.ca}}), message())
		if o.Class != tt.want {
			t.Errorf("%s: %+v", tt.name, o)
		}
	}
}

func TestSend_ClientCertificate(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	var client atomic.Value
	srv := ours.serveTLS(t, tls.RequireAndVerifyClientCert, func(_ http.ResponseWriter, r *http.Request) {
		client.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
	})
	s := sender(t, nil)
	send := func(c Credentials) Outcome {
		c.CA = ours.pem
		return s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL, Credentials: c}), message())
	}
	cert, key := ours.pair(t, "relay")
	if o := send(Credentials{ClientCert: cert, ClientKey: key}); o.Class != ClassDelivered || client.Load() != "relay" {
		t.Errorf("outcome = %+v, client %v", o, client.Load())
	}
	// With TLS 1.3 the receiver rejects the certificate after the handshake, with an alert instead of a response.
	if o := send(Credentials{}); o.Class != ClassTLSError && o.Class != ClassTransportError {
		t.Errorf("without a certificate: %+v", o)
	}
	cert, key = other.pair(t, "stranger")
	if o := send(Credentials{ClientCert: cert, ClientKey: key}); o.Class != ClassTLSError && o.Class != ClassTransportError {
		t.Errorf("with a certificate of another authority: %+v", o)
	}
	if client.Load() != "relay" {
		t.Errorf("requests with %v were accepted", client.Load())
	}
}

// Endpoints share connections if and only if they have the same credentials.
func TestTarget_SharesPoolsByCredentials(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := sender(t, nil)
	cert, key := a.pair(t, "relay")
	var mu sync.Mutex
	connections := map[string]bool{}
	srv := a.serveTLS(t, tls.RequestClientCert, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		connections[r.RemoteAddr] = true
	})
	for range 3 {
		for _, c := range []Credentials{{CA: a.pem}, {CA: a.pem, ClientCert: cert, ClientKey: key}} {
			first := target(t, s, Endpoint{Key: "1", URL: srv.URL, Credentials: c})
			second := target(t, s, Endpoint{Key: "2", URL: srv.URL + "/2", Credentials: c})
			if first.transport != second.transport || first.transport == s.transport {
				t.Error("endpoints with equal credentials have different pools")
			}
			for _, to := range []*Target{first, second} {
				if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
					t.Fatalf("outcome = %+v", o)
				}
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if n := len(connections); n != 2 {
		t.Errorf("%d connections, want one for each of two sets of credentials", n)
	}
	if a, b := target(t, s, Endpoint{URL: "https://a.example"}), target(t, s, Endpoint{URL: "https://b.example"}); a.transport != b.transport {
		t.Error("endpoints without credentials do not share a pool")
	}
}

// Unused credentials are garbage-collected.
func TestSender_DropsUnusedCredentials(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := sender(t, nil)
	func() {
		e := Endpoint{URL: "https://example.com", Credentials: Credentials{
			CA: a.pem, OAuth2: &OAuth2{TokenURL: "https://idp.example", ClientID: "relay", ClientSecret: "secret"},
		}}
		kept := target(t, s, e)
		if again := target(t, s, e); again.transport != kept.transport || again.tokens != kept.tokens {
			t.Error("credentials in use were built again")
		}
		e.Credentials.OAuth2 = &OAuth2{TokenURL: "https://idp.example", ClientID: "relay", ClientSecret: "another"}
		if other := target(t, s, e); other.transport != kept.transport || other.tokens == kept.tokens {
			t.Error("different clients share tokens")
		}
	}()
	for deadline := time.Now().Add(30 * time.Second); ; {
		runtime.GC()
		s.transports.mu.Lock()
		transports := len(s.transports.entries)
		s.transports.mu.Unlock()
		s.tokens.mu.Lock()
		clients := len(s.tokens.entries)
		s.tokens.mu.Unlock()
		if transports == 0 && clients == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pools and %d clients are left", transports, clients)
		}
	}
}

func TestTarget_InvalidCredentials(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	cert, key := a.pair(t, "relay")
	_, otherKey := b.pair(t, "relay")
	oauth := func(change func(*OAuth2)) *OAuth2 {
		o := &OAuth2{TokenURL: "https://idp.example/token", ClientID: "relay", ClientSecret: "sesame"}
		if change != nil {
			change(o)
		}
		return o
	}
	s := sender(t, func(cfg *SenderConfig) { cfg.AllowNetworks = nil })
	for _, tt := range []struct {
		name     string
		endpoint Endpoint
		want     string // part of the error; "" for none
	}{
		{"good", Endpoint{Credentials: Credentials{CA: a.pem, ClientCert: cert, ClientKey: key, OAuth2: oauth(nil)}}, ""},
		{"good bearer", Endpoint{Credentials: Credentials{Bearer: "ey.J0=+/-_~"}}, ""},
		{"no certificate", Endpoint{Credentials: Credentials{CA: "sesame"}}, "ca: contains no PEM certificate"},
		{"broken certificate", Endpoint{Credentials: Credentials{CA: strings.Replace(a.pem, "MII", "sesame", 1)}}, "ca: contains no PEM certificate"},
		{"a key as certificate", Endpoint{Credentials: Credentials{CA: key}}, "ca: contains no PEM certificate"},
		{"certificate without key", Endpoint{Credentials: Credentials{ClientCert: cert}}, "client_cert: has no client key"},
		{"key without certificate", Endpoint{Credentials: Credentials{ClientKey: key}}, "client_key: has no client certificate"},
		{"key of another", Endpoint{Credentials: Credentials{ClientCert: cert, ClientKey: otherKey}}, "client_key: "},
		{"no key", Endpoint{Credentials: Credentials{ClientCert: cert, ClientKey: "sesame"}}, "client_key: "},
		{"certificates without TLS", Endpoint{URL: "HTTP://example.com", Credentials: Credentials{CA: a.pem}}, "https://"},
		{"bearer with a line break", Endpoint{Credentials: Credentials{Bearer: "sesame\r\nX: y"}}, "bearer: contains a space"},
		{"header and bearer", Endpoint{Headers: map[string]string{"authorization": "sesame"}, Credentials: Credentials{Bearer: "sesame"}}, "bearer: conflicts with oauth2 or with the Authorization header"},
		{"header and OAuth2", Endpoint{Headers: map[string]string{"AUTHORIZATION": "sesame"}, Credentials: Credentials{OAuth2: oauth(nil)}}, "oauth2: conflicts with the Authorization header"},
		{"bearer and OAuth2", Endpoint{Credentials: Credentials{Bearer: "sesame", OAuth2: oauth(nil)}}, "bearer: conflicts with oauth2 or with the Authorization header"},
		{"token URL without TLS", Endpoint{Credentials: Credentials{OAuth2: oauth(func(o *OAuth2) { o.TokenURL = "ftp://idp.example/sesame" })}}, "oauth2.token_url: the URL must begin"},
		{"internal token URL", Endpoint{Credentials: Credentials{OAuth2: oauth(func(o *OAuth2) { o.TokenURL = "https://10.0.0.1/sesame" })}}, "allow_networks"},
		{"no client", Endpoint{Credentials: Credentials{OAuth2: oauth(func(o *OAuth2) { o.ClientID = "" })}}, "oauth2.client_id: is missing"},
		{"no client secret", Endpoint{Credentials: Credentials{OAuth2: oauth(func(o *OAuth2) { o.ClientSecret = "" })}}, "oauth2.client_secret: is missing"},
	} {
		if tt.endpoint.URL == "" {
			tt.endpoint.URL = "https://example.com/hook"
		}
		_, err := s.Target(&tt.endpoint)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "sesame"):
			t.Errorf("%s: the error contains a secret: %v", tt.name, err)
		}
	}
}
