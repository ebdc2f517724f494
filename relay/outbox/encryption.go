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

// An encrypted text is stored as "encrypted:v1:KEYID:" and the base64 of the nonce and the AES-256-GCM ciphertext. Without a key, texts
// are stored as plain text. A plain text that begins like an encrypted one gets the prefix "encrypted:plain:", so that nobody who may
// write a webhook's URL can make it unreadable.
const (
	encryptedPrefix = "encrypted:"
	encryptedV1     = encryptedPrefix + "v1:"
	encryptedPlain  = encryptedPrefix + "plain:"
)

// KeyBytes is the length of an encryption key.
const KeyBytes = 32

// location is where a text is stored. It is authenticated with the text, so that one webhook's secret cannot be moved to another.
type location struct{ origin, key, field string }

func (l location) String() string { return l.origin + "\x00" + l.key + "\x00" + l.field }

// keys encrypts with the first key and decrypts with any. A nil *keys does not encrypt.
type keys struct{ list []encryptionKey }

type encryptionKey struct {
	id   string
	aead cipher.AEAD
}

// newKeys returns nil if there are no keys.
func newKeys(texts [][]byte) (*keys, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	k := &keys{}
	for _, text := range texts {
		if len(text) != KeyBytes {
			return nil, fmt.Errorf("an encryption key of the outbox has %d bytes, not %d", len(text), KeyBytes)
		}
		block, err := aes.NewCipher(text)
		if err != nil {
			return nil, fmt.Errorf("use an encryption key of the outbox: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("use an encryption key of the outbox: %w", err)
		}
		sum := sha256.Sum256(append([]byte("iam-relay key id\x00"), text...))
		k.list = append(k.list, encryptionKey{hex.EncodeToString(sum[:4]), aead})
	}
	return k, nil
}

// encrypt returns a text as it is stored. An empty text stays empty.
func (k *keys) encrypt(text string, at location) string {
	switch {
	case text == "":
		return ""
	case k == nil && strings.HasPrefix(text, encryptedPrefix):
		return encryptedPlain + text
	case k == nil:
		return text
	}
	first := &k.list[0]
	nonce := make([]byte, first.aead.NonceSize(), first.aead.NonceSize()+len(text)+first.aead.Overhead())
	_, _ = rand.Read(nonce) // It never fails (crypto/rand).
	return encryptedV1 + first.id + ":" + base64.StdEncoding.EncodeToString(first.aead.Seal(nonce, nonce, []byte(text), []byte(at.String())))
}

// decrypt returns the text of what encrypt stored. The error says what to do and contains nothing of the text.
func (k *keys) decrypt(stored string, at location) (string, error) {
	if !strings.HasPrefix(stored, encryptedPrefix) {
		return stored, nil
	}
	if plain, ok := strings.CutPrefix(stored, encryptedPlain); ok {
		return plain, nil
	}
	id, encoded, _ := strings.Cut(strings.TrimPrefix(stored, encryptedV1), ":")
	ciphertext, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !strings.HasPrefix(stored, encryptedV1) {
		return "", errors.New("is encrypted in a format that this version does not know: run the version that wrote it")
	}
	if k == nil {
		return "", fmt.Errorf("is encrypted with key %s, and outbox.key_file is not set: set it to the file with this key", id)
	}
	i := slices.IndexFunc(k.list, func(one encryptionKey) bool { return one.id == id })
	if i < 0 {
		return "", fmt.Errorf("is encrypted with key %s, which the file of outbox.key_file does not have: add that key again, below the first line", id)
	}
	aead := k.list[i].aead
	if len(ciphertext) < aead.NonceSize() {
		return "", errors.New("is encrypted and truncated: restore it from a backup, or set it again")
	}
	text, err := aead.Open(nil, ciphertext[:aead.NonceSize()], ciphertext[aead.NonceSize():], []byte(at.String()))
	if err != nil {
		return "", fmt.Errorf("is encrypted with key %s and fails its integrity check: it was changed or moved; restore it from a backup, or set it again", id)
	}
	return string(text), nil
}

// current reports whether a stored text uses the first key, so that rotation can skip it.
func (k *keys) current(stored string) bool {
	return stored == "" || k == nil || strings.HasPrefix(stored, encryptedV1+k.list[0].id+":")
}
