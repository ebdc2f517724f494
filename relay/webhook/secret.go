package webhook

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
)

// Secret is a signing secret as text. It prints, marshals and logs as "[redacted]"; string(s) is the text. Pass string(s) to a
// database, because drivers may call the String method.
//
// A secret has one of these forms:
//   - "whsec_" and base64: a random symmetric key of Standard Webhooks
//   - "whsk_" and base64: an ed25519 key pair; receivers only need the public key
//   - "whpk_" and base64: the public key of such a pair, which can only verify
//   - any other text: a symmetric key, byte for byte. FerrisKey's 64 hexadecimal characters are used as 64 ASCII bytes, not decoded,
//     both for FerrisKey's signature and for Standard Webhooks'.
type Secret string

const (
	secretPrefix  = "whsec_"
	privatePrefix = "whsk_"
	publicPrefix  = "whpk_"
	redacted      = "[redacted]"
)

// MinSecretBytes is the shortest symmetric key that Check accepts. Standard Webhooks recommends 24 to 64.
const MinSecretBytes = 16

// String redacts. An empty secret prints as an empty string, so that its absence is visible.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString keeps %#v from printing the text.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler: it redacts.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer: it redacts.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Check returns why the secret cannot be used to sign. The error does not contain the secret.
func (s Secret) Check() error {
	if s.asymmetric() {
		_, err := s.privateKey()
		return err
	}
	key, err := s.key()
	if err != nil {
		return err
	}
	if len(key) < MinSecretBytes {
		return errors.New("the secret is shorter than 16 bytes; generate one with: echo whsec_$(openssl rand -base64 32)")
	}
	return nil
}

// PublicKey returns the public key of a "whsk_…" secret, as "whpk_…" text, for receivers to verify with.
func PublicKey(s Secret) (string, error) {
	if !s.asymmetric() {
		return "", errors.New(`only a secret that begins with "whsk_" has a public key`)
	}
	key, err := s.privateKey()
	if err != nil {
		return "", err
	}
	return publicPrefix + base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:]), nil
}

// asymmetric reports whether the secret has the prefix of an ed25519 key pair.
func (s Secret) asymmetric() bool { return strings.HasPrefix(string(s), privatePrefix) }

// key returns the HMAC key of a symmetric secret for Standard Webhooks.
func (s Secret) key() ([]byte, error) {
	if strings.HasPrefix(string(s), publicPrefix) {
		return nil, errors.New(`a key that begins with "whpk_" is public and cannot sign; use the private key, which begins with "whsk_"`)
	}
	encoded, ok := strings.CutPrefix(string(s), secretPrefix)
	if !ok {
		return []byte(s), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, errors.New(`after "whsec_" the secret must be padded base64; generate one with: echo whsec_$(openssl rand -base64 32)`)
	}
	return key, nil
}

// privateKey returns the key pair: 32 private and 32 public bytes, as in crypto/ed25519. It rejects a public key that does not
// match, because such signatures cannot be verified and can reveal the private key.
func (s Secret) privateKey() (ed25519.PrivateKey, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), privatePrefix))
	switch {
	case err != nil || len(key) != ed25519.PrivateKeySize:
		return nil, errors.New(`after "whsk_" the secret must be 64 bytes in padded base64: the private and the public half of an ed25519 key`)
	case !bytes.Equal(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize]), key):
		return nil, errors.New(`the two halves of the secret that begins with "whsk_" do not match; generate a new key pair`)
	}
	return key, nil
}

// publicKey returns the public key of a "whsk_…" or "whpk_…" text.
func (s Secret) publicKey() (ed25519.PublicKey, error) {
	if s.asymmetric() {
		key, err := s.privateKey()
		if err != nil {
			return nil, err
		}
		return ed25519.PublicKey(key[ed25519.SeedSize:]), nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), publicPrefix))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, errors.New(`after "whpk_" the key must be 32 bytes in padded base64`)
	}
	return key, nil
}
