package webhook

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
)

// Secret is a signing secret as text. It prints, marshals and logs as "[redacted]"; string(s) is the text, which is also
// what must be handed to a database, whose drivers may prefer the String method.
//
// Three forms sign. "whsec_" and base64 is the Standard Webhooks form of a random key, "whsk_" and base64 that of an ed25519
// key pair, whose public half is all that a receiver needs. Any other text is its own key, byte for byte: FerrisKey's 64
// hexadecimal characters are used as 64 ASCII bytes, never decoded, for its own signature and for Standard Webhooks alike.
// A fourth form, "whpk_" and base64, is the public half alone. It can only verify.
type Secret string

const (
	secretPrefix  = "whsec_"
	privatePrefix = "whsk_"
	publicPrefix  = "whpk_"
	redacted      = "[redacted]"
)

// MinSecretBytes is the shortest symmetric key that Check accepts. Standard Webhooks recommends 24 to 64.
const MinSecretBytes = 16

// String redacts. An empty secret prints as nothing, so that its absence shows.
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

// Check reports what is wrong with a secret that somebody chose to sign with, without repeating it.
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
		return errors.New("the secret is shorter than 16 bytes; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return nil
}

// PublicKey returns the "whpk_…" text of the public half of a "whsk_…" secret: what a receiver verifies with. It is no
// secret.
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

// asymmetric reports whether the secret is, by its beginning, an ed25519 key pair.
func (s Secret) asymmetric() bool { return strings.HasPrefix(string(s), privatePrefix) }

// key returns the bytes that a symmetric secret signs with, the Standard Webhooks way.
func (s Secret) key() ([]byte, error) {
	if strings.HasPrefix(string(s), publicPrefix) {
		return nil, errors.New(`a key that begins with "whpk_" is public and cannot sign; give the private one, which begins with "whsk_"`)
	}
	encoded, ok := strings.CutPrefix(string(s), secretPrefix)
	if !ok {
		return []byte(s), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, errors.New(`a secret that begins with "whsec_" must go on with padded base64; make one with: echo whsec_$(openssl rand -base64 32)`)
	}
	return key, nil
}

// privateKey returns the key pair: 32 private and 32 public bytes, which is also how crypto/ed25519 has it. A public half that
// belongs to another private one would make signatures that nobody can verify, and could give the private one away.
func (s Secret) privateKey() (ed25519.PrivateKey, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), privatePrefix))
	switch {
	case err != nil || len(key) != ed25519.PrivateKeySize:
		return nil, errors.New(`a secret that begins with "whsk_" must go on with the padded base64 of 64 bytes: the private and the public half of an ed25519 key`)
	case !bytes.Equal(ed25519.NewKeyFromSeed(key[:ed25519.SeedSize]), key):
		return nil, errors.New(`the two halves of a secret that begins with "whsk_" do not belong together`)
	}
	return key, nil
}

// publicKey returns the key that verifies what a "whsk_…" secret has signed, from either half.
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
		return nil, errors.New(`a key that begins with "whpk_" must go on with the padded base64 of 32 bytes`)
	}
	return key, nil
}
