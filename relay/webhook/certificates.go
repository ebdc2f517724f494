package webhook

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
)

// tlsFingerprint identifies the TLS credentials. The lengths delimit the parts.
func (c *Credentials) tlsFingerprint() fingerprint {
	return sha256.Sum256(fmt.Appendf(nil, "%d %d %s%s%s", len(c.CA), len(c.ClientCert), c.CA, c.ClientCert, c.ClientKey))
}

// transportFor returns the connection pool for the credentials: the default one, or one shared by all endpoints with the same TLS
// credentials.
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
	return s.transports.get(c.tlsFingerprint(), func() *http.Transport { return s.newTransport(cfg) }), nil
}

func certPool(pem string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("contains no PEM certificate; it must have a section -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}

// clientCertificate does not repeat the parser's error, which may quote part of the key.
func clientCertificate(cert, key string) (tls.Certificate, error) {
	switch {
	case cert == "":
		return tls.Certificate{}, errors.New("has no client certificate; set it too, or remove the key")
	case key == "":
		return tls.Certificate{}, errors.New("has no client key; set it too, or remove the certificate")
	}
	if _, err := certPool(cert); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return tls.Certificate{}, errors.New("is not an unencrypted PEM private key that belongs to the client certificate; decrypt the key, or set the matching pair")
	}
	return pair, nil
}
