package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"sync"
)

// signer makes HMAC-SHA256 sums under one key. Keyed states are pooled: setting one up costs as much as a short body.
type signer struct{ states sync.Pool }

func newSigner(key []byte) *signer {
	return &signer{states: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum returns the HMAC of prefix and body.
func (s *signer) sum(prefix string, body []byte) [sha256.Size]byte {
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

// signatures are what a Target signs with.
type signatures struct {
	standard  []*signer
	ferriskey *signer
}

func newSignatures(secrets []Secret) (signatures, error) {
	var s signatures
	for _, secret := range secrets {
		key, err := secret.key()
		if err != nil {
			return signatures{}, err
		}
		s.standard = append(s.standard, newSigner(key))
	}
	if len(secrets) > 0 {
		s.ferriskey = newSigner([]byte(secrets[0]))
	}
	return s, nil
}

// webhookSignature is the webhook-signature header of Standard Webhooks: "v1," and the base64 of the HMAC over
// id.timestamp.body, once per secret, separated by spaces. Timestamp is in Unix seconds.
func (s *signatures) webhookSignature(id, timestamp string, body []byte) string {
	prefix := id + "." + timestamp + "."
	header := make([]byte, 0, len(s.standard)*48)
	for i, key := range s.standard {
		if i > 0 {
			header = append(header, ' ')
		}
		sum := key.sum(prefix, body)
		header = append(header, "v1,"...)
		header = base64.StdEncoding.AppendEncode(header, sum[:])
	}
	return string(header)
}

// ferriskeySignature is the x-ferriskey-signature header as FerrisKey 0.7 makes it: lower-case hexadecimal of the HMAC
// over timestamp.body, keyed with the ASCII bytes of the secret.
func (s *signatures) ferriskeySignature(timestamp string, body []byte) string {
	sum := s.ferriskey.sum(timestamp+".", body)
	return hex.EncodeToString(sum[:])
}
