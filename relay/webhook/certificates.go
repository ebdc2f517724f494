package webhook

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
)

// profile is the fingerprint of the TLS credentials. The lengths keep its parts apart.
func (c *Credentials) profile() fingerprint {
	return sha256.Sum256(fmt.Appendf(nil, "%d %d %s%s%s", len(c.CA), len(c.ClientCert), c.CA, c.ClientCert, c.ClientKey))
}

// transportFor returns the pool of connections for the credentials: the common one, or one that their profile shares.
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
	return s.transports.get(c.profile(), func() *http.Transport { return s.newTransport(cfg) }), nil
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
