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

// The signature versions of Standard Webhooks.
const (
	schemeHMAC    = "v1"
	schemeEd25519 = "v1a"
)

// signer signs with one secret.
type signer interface {
	// appendSignature appends the version and the signature of prefix and body to header.
	appendSignature(header []byte, prefix string, body []byte) []byte
}

// hmacSigner computes HMAC-SHA256 with one key. It pools the hash states, because initializing one costs as much as a short body.
type hmacSigner struct{ states sync.Pool }

func newHMACSigner(key []byte) *hmacSigner {
	return &hmacSigner{states: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum returns the HMAC of prefix and body.
func (s *hmacSigner) sum(prefix string, body []byte) [sha256.Size]byte {
	h := s.states.Get().(hash.Hash)
	defer s.states.Put(h)
	h.Reset()
	// hash.Hash documents that Write never returns an error.
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

// ed25519Signer signs with a private key. Ed25519 reads the message twice, so prefix and body are concatenated.
type ed25519Signer struct{ key ed25519.PrivateKey }

func (s ed25519Signer) appendSignature(header []byte, prefix string, body []byte) []byte {
	message := append(append(make([]byte, 0, len(prefix)+len(body)), prefix...), body...)
	return base64.StdEncoding.AppendEncode(append(header, schemeEd25519+","...), ed25519.Sign(s.key, message))
}

// signatures holds the signers of a Target.
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

// webhookSignature returns the webhook-signature header of Standard Webhooks. It contains one signature of id.timestamp.body per
// secret, separated by spaces: "v1," and the HMAC in base64, or "v1a," and the ed25519 signature. Timestamp is in Unix seconds.
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

// ferriskeySignature returns the x-ferriskey-signature header of FerrisKey 0.7: the HMAC of timestamp.body in lower-case hexadecimal,
// keyed with the ASCII bytes of the secret.
func (s *signatures) ferriskeySignature(timestamp string, body []byte) string {
	sum := s.ferriskey.sum(timestamp+".", body)
	return hex.EncodeToString(sum[:])
}
