package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verified is the result of a successful verification.
type Verified struct {
	ID   string
	Sent time.Time
	// Scheme is the version of the matching signature: "v1" or "v1a".
	Scheme string
	// Signature and Secret are the indexes of the match, in the header and in the list of secrets.
	Signature, Secret int
}

// Verify checks a request as a receiver should: first that one of its signatures matches one of the secrets, then that its timestamp
// differs from now by at most tolerance. Secrets may have any form, including public keys; an invalid one is an error. Header names
// must be in canonical form.
func Verify(secrets []Secret, header http.Header, body []byte, now time.Time, tolerance time.Duration) (Verified, error) {
	verifiers, err := newVerifiers(secrets)
	if err != nil {
		return Verified{}, err
	}
	var v Verified
	if v.ID, err = single(header, headerID); err != nil {
		return Verified{}, err
	}
	timestamp, err := single(header, headerTimestamp)
	if err != nil {
		return Verified{}, err
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return Verified{}, errors.New("webhook-timestamp is not in Unix seconds")
	}
	v.Sent = time.Unix(seconds, 0)
	signatures := strings.Fields(strings.Join(header.Values(headerSignature), " "))
	if len(signatures) == 0 {
		return Verified{}, errors.New("the webhook-signature header is missing: the request is not signed")
	}
	signed := append([]byte(v.ID+"."+timestamp+"."), body...)
	if err := v.match(verifiers, signatures, signed); err != nil {
		return Verified{}, err
	}
	return v, v.checkAge(now, tolerance)
}

// single returns the value of a header that must occur exactly once.
func single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0 || values[0] == "":
		return "", fmt.Errorf("the %s header is missing", strings.ToLower(name))
	case len(values) > 1:
		return "", fmt.Errorf("there are %d %s headers instead of one", len(values), strings.ToLower(name))
	}
	return values[0], nil
}

// match finds a signature that was made with one of the secrets.
func (v *Verified) match(verifiers []verifier, signatures []string, signed []byte) error {
	tried, unknown, malformed := 0, 0, 0
	for i, signature := range signatures {
		scheme, encoded, _ := strings.Cut(signature, ",")
		if scheme != schemeHMAC && scheme != schemeEd25519 {
			unknown++
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			malformed++
			continue
		}
		for j, verifier := range verifiers {
			if verifier.scheme != scheme {
				continue
			}
			tried++
			if verifier.verify(signed, sum) {
				v.Scheme, v.Signature, v.Secret = scheme, i, j
				return nil
			}
		}
	}
	switch {
	case tried > 0:
		return errors.New("no signature matches: the secret is a different one, or the id, timestamp or body has changed; pass the body exactly as it was received, byte for byte")
	case malformed > 0:
		return errors.New("the signature in webhook-signature is not valid base64")
	case unknown == len(signatures):
		return errors.New("webhook-signature contains no signature of version v1 or v1a")
	}
	return errors.New("no signature has the type of the secret: v1 requires a secret that begins with whsec_ or plain text, v1a one that begins with whpk_ or whsk_")
}

func (v *Verified) checkAge(now time.Time, tolerance time.Duration) error {
	switch age := now.Sub(v.Sent).Truncate(time.Second); {
	case age > tolerance:
		return fmt.Errorf("the signature matches, but the request was sent %s ago, which exceeds the tolerance of %s", age, tolerance)
	case -age > tolerance:
		return fmt.Errorf("the signature matches, but the timestamp is %s in the future, which exceeds the tolerance of %s: one of the clocks is wrong", -age, tolerance)
	}
	return nil
}

// verifier verifies signatures with one secret.
type verifier struct {
	scheme string
	verify func(signed, signature []byte) bool
}

func newVerifiers(secrets []Secret) ([]verifier, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no secret given")
	}
	verifiers := make([]verifier, len(secrets))
	for i, s := range secrets {
		if s == "" {
			return nil, errors.New("a secret is empty; anyone could sign with it")
		}
		if s.asymmetric() || strings.HasPrefix(string(s), publicPrefix) {
			key, err := s.publicKey()
			if err != nil {
				return nil, err
			}
			verifiers[i] = verifier{schemeEd25519, func(signed, signature []byte) bool { return ed25519.Verify(key, signed, signature) }}
			continue
		}
		key, err := s.key()
		if err != nil {
			return nil, err
		}
		verifiers[i] = verifier{schemeHMAC, func(signed, signature []byte) bool {
			mac := hmac.New(sha256.New, key)
			_, _ = mac.Write(signed)
			return hmac.Equal(mac.Sum(nil), signature)
		}}
	}
	return verifiers, nil
}

// CheckVerifier returns why Verify cannot use the secret. The error does not contain the secret.
func CheckVerifier(s Secret) error {
	_, err := newVerifiers([]Secret{s})
	return err
}
