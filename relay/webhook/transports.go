package webhook

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"weak"
)

// profile is a hash of TLS credentials. Endpoints that share them share connections.
type profile [sha256.Size]byte

// transports are the pools of connections for endpoints with TLS credentials of their own, at most one for each profile. A pool
// lives for as long as a Target uses it or it has a connection: credentials that are renewed every day leave nothing behind.
type transports struct {
	build func(*tls.Config) *http.Transport

	mu        sync.Mutex
	byProfile map[profile]weak.Pointer[http.Transport]
}

func newTransports(build func(*tls.Config) *http.Transport) *transports {
	return &transports{build: build, byProfile: map[profile]weak.Pointer[http.Transport]{}}
}

// get returns the pool of the profile, which cfg belongs to.
func (ts *transports) get(p profile, cfg *tls.Config) *http.Transport {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byProfile[p].Value(); t != nil {
		return t
	}
	t := ts.build(cfg)
	entry := weak.Make(t)
	ts.byProfile[p] = entry
	runtime.AddCleanup(t, func(entry weak.Pointer[http.Transport]) { ts.forget(p, entry) }, entry)
	return t
}

// forget drops the entry of a pool that is gone, if no new one has taken its place.
func (ts *transports) forget(p profile, entry weak.Pointer[http.Transport]) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byProfile[p] == entry {
		delete(ts.byProfile, p)
	}
}

func (ts *transports) closeIdle() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, entry := range ts.byProfile {
		if t := entry.Value(); t != nil {
			t.CloseIdleConnections()
		}
	}
}

// transportFor returns the pool for the credentials.
func (s *Sender) transportFor(c *Credentials) (*http.Transport, error) {
	if c.CA == "" && c.ClientCert == "" && c.ClientKey == "" {
		return s.transport, nil
	}
	cfg := &tls.Config{RootCAs: s.rootCAs}
	if c.CA != "" {
		pool, err := certPool(c.CA)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if c.ClientCert != "" || c.ClientKey != "" {
		pair, err := clientCertificate(c.ClientCert, c.ClientKey)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	// The lengths keep the parts apart.
	p := sha256.Sum256(fmt.Appendf(nil, "%d %d %s%s%s", len(c.CA), len(c.ClientCert), c.CA, c.ClientCert, c.ClientKey))
	return s.transports.get(p, cfg), nil
}

func certPool(pem string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("there is no certificate in PEM in it (-----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}

// clientCertificate repeats nothing of the parser's errors: what it failed on may be a part of the key.
func clientCertificate(cert, key string) (tls.Certificate, error) {
	switch {
	case cert == "":
		return tls.Certificate{}, errors.New("there is a client key without its certificate")
	case key == "":
		return tls.Certificate{}, errors.New("there is a client certificate without its key")
	}
	if _, err := certPool(cert); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return tls.Certificate{}, errors.New("the client key is no unencrypted private key in PEM, or belongs to another certificate")
	}
	return pair, nil
}
