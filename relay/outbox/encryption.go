package outbox

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A sealed text is "sealed:v1:", the key's id, ":", and the base64 of a nonce and what AES-256-GCM has made of the text. Where no
// key is configured texts are stored as they are, except that one that only looks sealed is marked as not being so: whoever may
// write a webhook's URL must not be able to make the relay stumble over it.
const (
	sealPrefix  = "sealed:"
	sealedV1    = sealPrefix + "v1:"
	sealedPlain = sealPrefix + "plain:"
)

// KeyBytes is the length of a key that seals.
const KeyBytes = 32

// place is where a text is stored. A sealed text opens nowhere else: one webhook's secret cannot be put in another's place.
type place struct{ origin, key, field string }

func (p place) String() string { return p.origin + "\x00" + p.key + "\x00" + p.field }

// keys seal texts with the first of them, and open with all. A nil one seals nothing.
type keys struct{ list []sealKey }

type sealKey struct {
	id   string
	aead cipher.AEAD
}

// newKeys returns nil for none.
func newKeys(texts [][]byte) (*keys, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	k := &keys{}
	for _, text := range texts {
		if len(text) != KeyBytes {
			return nil, fmt.Errorf("a key of the outbox has %d bytes instead of %d", len(text), KeyBytes)
		}
		block, err := aes.NewCipher(text)
		if err != nil {
			return nil, fmt.Errorf("use a key of the outbox: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("use a key of the outbox: %w", err)
		}
		sum := sha256.Sum256(append([]byte("iam-relay key id\x00"), text...))
		k.list = append(k.list, sealKey{hex.EncodeToString(sum[:4]), aead})
	}
	return k, nil
}

// seal returns what is stored. That there is nothing is no secret.
func (k *keys) seal(text string, at place) string {
	switch {
	case text == "":
		return ""
	case k == nil && strings.HasPrefix(text, sealPrefix):
		return sealedPlain + text
	case k == nil:
		return text
	}
	first := &k.list[0]
	nonce := make([]byte, first.aead.NonceSize(), first.aead.NonceSize()+len(text)+first.aead.Overhead())
	_, _ = rand.Read(nonce) // It never fails (crypto/rand).
	return sealedV1 + first.id + ":" + base64.StdEncoding.EncodeToString(first.aead.Seal(nonce, nonce, []byte(text), []byte(at.String())))
}

// open returns the text of what is stored. The error says what to do, and repeats nothing of the text.
func (k *keys) open(stored string, at place) (string, error) {
	if !strings.HasPrefix(stored, sealPrefix) {
		return stored, nil
	}
	if plain, ok := strings.CutPrefix(stored, sealedPlain); ok {
		return plain, nil
	}
	id, encoded, _ := strings.Cut(strings.TrimPrefix(stored, sealedV1), ":")
	sealed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !strings.HasPrefix(stored, sealedV1) {
		return "", errors.New("is sealed in a form that this version does not know")
	}
	if k == nil {
		return "", fmt.Errorf("is sealed with key %s, and outbox.key_file is not set: set it to the file that has this key", id)
	}
	i := slices.IndexFunc(k.list, func(one sealKey) bool { return one.id == id })
	if i < 0 {
		return "", fmt.Errorf("is sealed with key %s, which the file of outbox.key_file does not have: put it there again, below the first line", id)
	}
	aead := k.list[i].aead
	if len(sealed) < aead.NonceSize() {
		return "", errors.New("is sealed and cut short")
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(at.String()))
	if err != nil {
		return "", fmt.Errorf("is sealed with key %s and does not open with it: it was changed, or belongs elsewhere", id)
	}
	return string(text), nil
}

// current reports whether what is stored is as seal would store it now.
func (k *keys) current(stored string) bool {
	return stored == "" || k == nil || strings.HasPrefix(stored, sealedV1+k.list[0].id+":")
}
