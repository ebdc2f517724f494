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

// Verified says what about a request was found to be genuine.
type Verified struct {
	ID   string
	Sent time.Time
	// Scheme is the version of the signature that matched: "v1" or "v1a".
	Scheme string
	// Signature and Secret are the places of the matching ones, from 0, in the header and among the secrets.
	Signature, Secret int
}

// Verify checks a request as a receiver should: its signature first, so that its age is only spoken of when it is genuine, and
// then that it was sent within the tolerance of now, before or after. One matching signature is enough. Secrets may have any form,
// public keys included; those that cannot be read are an error. Header names must be canonical, as net/http has them.
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
		return Verified{}, errors.New("webhook-timestamp is not a number of seconds since 1970")
	}
	v.Sent = time.Unix(seconds, 0)
	signatures := strings.Fields(strings.Join(header.Values(headerSignature), " "))
	if len(signatures) == 0 {
		return Verified{}, errors.New("there is no webhook-signature header: the request is not signed")
	}
	signed := append([]byte(v.ID+"."+timestamp+"."), body...)
	if err := v.match(verifiers, signatures, signed); err != nil {
		return Verified{}, err
	}
	return v, v.checkAge(now, tolerance)
}

// single returns the one value of a header.
func single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0 || values[0] == "":
		return "", fmt.Errorf("there is no %s header", strings.ToLower(name))
	case len(values) > 1:
		return "", fmt.Errorf("there are %d %s headers", len(values), strings.ToLower(name))
	}
	return values[0], nil
}

// match looks for a signature that one of the secrets has made.
func (v *Verified) match(verifiers []verifier, signatures []string, signed []byte) error {
	tried, unknown, broken := 0, 0, 0
	for i, signature := range signatures {
		scheme, encoded, _ := strings.Cut(signature, ",")
		if scheme != schemeHMAC && scheme != schemeEd25519 {
			unknown++
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			broken++
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
		return errors.New("no signature matches: another secret made it, or the id, the timestamp or the body are not what was signed; the body must be the very bytes that came")
	case broken > 0:
		return errors.New("webhook-signature is not base64 after its version")
	case unknown == len(signatures):
		return errors.New("webhook-signature has no version that is known here: v1 or v1a")
	}
	return errors.New("no signature is of the kind of a secret: v1 needs whsec_ or plain text, v1a needs whpk_ or whsk_")
}

func (v *Verified) checkAge(now time.Time, tolerance time.Duration) error {
	switch age := now.Sub(v.Sent).Truncate(time.Second); {
	case age > tolerance:
		return fmt.Errorf("the signature matches, but the request was sent %s ago, and no more than %s are tolerated", age, tolerance)
	case -age > tolerance:
		return fmt.Errorf("the signature matches, but the request will be sent in %s, and no more than %s are tolerated: one of the clocks is wrong", -age, tolerance)
	}
	return nil
}

// verifier is the verifying side of one secret.
type verifier struct {
	scheme string
	verify func(signed, signature []byte) bool
}

func newVerifiers(secrets []Secret) ([]verifier, error) {
	if len(secrets) == 0 {
		return nil, errors.New("there is no secret to verify with")
	}
	verifiers := make([]verifier, len(secrets))
	for i, s := range secrets {
		if s == "" {
			return nil, errors.New("a secret is empty: anybody could sign with it")
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

// CheckVerifier reports why Verify cannot use a secret, without repeating it.
func CheckVerifier(s Secret) error {
	_, err := newVerifiers([]Secret{s})
	return err
}
