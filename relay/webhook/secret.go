package webhook

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
)

// Secret is a signing secret as text. It prints, marshals and logs as "[redacted]"; string(s) is the text, which is also
// what must be handed to a database, whose drivers may prefer the String method.
//
// Two forms are known. "whsec_" and base64 is the Standard Webhooks form of a random key. Any other text is its own key,
// byte for byte: FerrisKey's 64 hexadecimal characters are used as 64 ASCII bytes, never decoded, for its own signature
// and for Standard Webhooks alike.
type Secret string

const (
	secretPrefix = "whsec_"
	redacted     = "[redacted]"
)

// MinSecretBytes is the shortest key that Check accepts. Standard Webhooks recommends 24 to 64.
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

// Check reports what is wrong with a secret that somebody chose, without repeating it.
func (s Secret) Check() error {
	key, err := s.key()
	if err != nil {
		return err
	}
	if len(key) < MinSecretBytes {
		return errors.New("the secret is shorter than 16 bytes; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return nil
}

// key returns the bytes that sign the Standard Webhooks way.
func (s Secret) key() ([]byte, error) {
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
