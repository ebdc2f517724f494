package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"sync"
)

// The versions of signatures that Standard Webhooks knows.
const (
	schemeHMAC    = "v1"
	schemeEd25519 = "v1a"
)

// signer makes the signatures of one secret.
type signer interface {
	// appendSignature appends the signature of prefix and body to header, with its version in front.
	appendSignature(header []byte, prefix string, body []byte) []byte
}

// hmacSigner makes HMAC-SHA256 sums under one key. Keyed states are pooled: setting one up costs as much as a short body.
type hmacSigner struct{ states sync.Pool }

func newHMACSigner(key []byte) *hmacSigner {
	return &hmacSigner{states: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum returns the HMAC of prefix and body.
func (s *hmacSigner) sum(prefix string, body []byte) [sha256.Size]byte {
	h := s.states.Get().(hash.Hash)
	defer s.states.Put(h)
	h.Reset()
	// A hash never fails to write (hash.Hash).
	_, _ = io.WriteString(h, prefix)
	_, _ = h.Write(body)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

func (s *hmacSigner) appendSignature(header []byte, prefix string, body []byte) []byte {
	sum := s.sum(prefix, body)
	return base64.StdEncoding.AppendEncode(append(header, schemeHMAC+","...), sum[:])
}

// ed25519Signer signs with a private key. Ed25519 reads its message twice, so prefix and body are put together first.
type ed25519Signer struct{ key ed25519.PrivateKey }

func (s ed25519Signer) appendSignature(header []byte, prefix string, body []byte) []byte {
	message := append(append(make([]byte, 0, len(prefix)+len(body)), prefix...), body...)
	return base64.StdEncoding.AppendEncode(append(header, schemeEd25519+","...), ed25519.Sign(s.key, message))
}

// signatures are what a Target signs with.
type signatures struct {
	standard  []signer
	ferriskey *hmacSigner // nil without a symmetric secret
}

func newSignatures(secrets []Secret) (signatures, error) {
	var s signatures
	for _, secret := range secrets {
		if secret.asymmetric() {
			key, err := secret.privateKey()
			if err != nil {
				return signatures{}, err
			}
			s.standard = append(s.standard, ed25519Signer{key})
			continue
		}
		key, err := secret.key()
		if err != nil {
			return signatures{}, err
		}
		s.standard = append(s.standard, newHMACSigner(key))
		if s.ferriskey == nil {
			s.ferriskey = newHMACSigner([]byte(secret))
		}
	}
	return s, nil
}

// webhookSignature is the webhook-signature header of Standard Webhooks: over id.timestamp.body, once per secret, separated by
// spaces, "v1," and the base64 of the HMAC or "v1a," and that of the ed25519 signature. Timestamp is in Unix seconds.
func (s *signatures) webhookSignature(id, timestamp string, body []byte) string {
	prefix := id + "." + timestamp + "."
	header := make([]byte, 0, len(s.standard)*48)
	for i, key := range s.standard {
		if i > 0 {
			header = append(header, ' ')
		}
		header = key.appendSignature(header, prefix, body)
	}
	return string(header)
}

// ferriskeySignature is the x-ferriskey-signature header as FerrisKey 0.7 makes it: lower-case hexadecimal of the HMAC
// over timestamp.body, keyed with the ASCII bytes of the secret.
func (s *signatures) ferriskeySignature(timestamp string, body []byte) string {
	sum := s.ferriskey.sum(timestamp+".", body)
	return hex.EncodeToString(sum[:])
}
