package mapping

import (
	"slices"
	"strings"
	"unicode"
)

// The guard keeps secrets out of payloads: a column whose name and type look like a secret, or that holds a whole document, is
// refused unless the mapping hashes it, keeps it under secrets, or declares it public. It judges the column and not the name that
// a payload gives it, when the types are known: a boolean enable_password says nothing, a text password says everything.

// secretWords make a column a secret wherever they stand in its name, unless it ends in a neutralWord.
var secretWords = wordSet(`password passwords passwd pwd pass passphrase passphrases passcode passcodes passkey passkeys secret secrets salt salts
	token tokens jwt jws jwe bearer otp otps totp hotp seed seeds mnemonic pin pins pincode hash hashes hashed digest digests hmac sha bcrypt argon scrypt pbkdf
	credential credentials creds cred apikey apikeys privkey privatekey secretkey pem keytab keystore pkcs pfx psk verifier challenge nonce
	cvv cvc ssn tokenhash passhash pwdhash pw pws psw pepper otpauth puk csrf xsrf cookie cookies encrypted ciphertext
	senha senhas segredo segreto secreto parola şifre sifre hasło haslo heslo lösenord losenord passord adgangskode salasana jelszó geheimnis`)

// secretPhrases are words that make a secret together.
var secretPhrases = phrases(`private key|private keys|secret key|api key|api keys|pseudo key|encryption key|signing key|access key|master key|shared key|recovery key|
	recovery keys|session key|totp key|otp key|hmac key|ssh key|license key|key material|recovery code|recovery codes|backup code|backup codes|scratch code|
	scratch codes|device code|user code|auth code|authorization code|authorisation code|verification code|confirmation code|activation code|reset code|login code|
	sms code|mfa code|tfa code|2 fa code|one time code|security code|access code|invite code|invitation code|code verifier|code challenge|magic link|security answer|
	security answers|secret answer|credential data|key hash|priv key|decryption key|symmetric key|root key|rsa key|aes key|auth key|account key|activation key|licence key|
	certificate key|cert key|ssl key|tls key|preshared key|shared access signature|connection string|reset link|login link|activation link|confirmation link|verification link|
	invite link|invitation link|unlock pattern|authorization header|mot de passe|md 5|p 12`)

// neutralWords at the end of a name say that the column is about a secret, and is none.
var neutralWords = wordSet(`id ids uuid type types kind count counts length len size policy policies enabled disabled required allowed active at on date time expires expiry
	expiration expired ttl lifetime lifespan secs seconds minutes hours days ms age version algorithm algorithms alg algo name names label status state changed updated
	created modified used revoked verified confirmed set temporary provider issuer method methods strategy template max min limit limits attempts iterations rounds
	endpoint bits format usage audience scope scopes purpose user owner consent domain path`)

// numericSecrets are what a number can be: a code that somebody types.
var numericSecrets = wordSet(`pin pins pincode otp otps totp hotp passcode passcodes password passwd pwd cvv cvc ssn code`)

// secretRoots are looked for inside of words that nothing separates, as in accesstoken; innocentWords contain one by accident.
var (
	secretRoots = strings.Fields(`password passwd passphrase passcode secret token credential privatekey privkey apikey accesskey signingkey encryptionkey masterkey
		seedphrase recoverycode backupcode devicecode codeverifier resetlink magiclink
		passwort passwörter kennwort contraseña contrasena motdepasse wachtwoord пароль 密码 密碼 パスワード 비밀번호`)
	innocentWords = wordSet(`secretary secretaries secretariat secretion secretions tokenize tokenized tokenizer passwordless tokenless`)
)

func wordSet(text string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		set[word] = true
	}
	return set
}

func phrases(text string) [][]string {
	var out [][]string
	for phrase := range strings.SplitSeq(text, "|") {
		out = append(out, strings.Fields(phrase))
	}
	return out
}

// nameWords splits a column's name at everything that is not a letter or digit, at changes of case, and between letters and digits.
func nameWords(name string) []string {
	var words []string
	runes := []rune(name)
	start := 0
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
		start = end
	}
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush(i)
			start = i + 1
			continue
		}
		if i == start {
			continue
		}
		before := runes[i-1]
		acronymEnds := unicode.IsUpper(before) && unicode.IsUpper(r) && i+1 < len(runes) && unicode.IsLower(runes[i+1]) // APIKey
		if unicode.IsLower(before) && unicode.IsUpper(r) || acronymEnds || unicode.IsDigit(before) != unicode.IsDigit(r) {
			flush(i)
		}
	}
	flush(len(runes))
	return words
}

// secretAt gives the end of the last word or phrase that makes a secret, or 0. What follows within an unseparated word is its rest.
func secretAt(words []string) (end int, rest string) {
	for i, word := range words {
		if secretWords[word] {
			end, rest = i+1, ""
			continue
		}
		for _, root := range secretRoots {
			if at := strings.LastIndex(word, root); at >= 0 && !innocentWords[word] {
				end, rest = i+1, word[at+len(root):]
			}
		}
	}
	for _, phrase := range secretPhrases {
		for i := range words {
			if i+len(phrase) > end && i+len(phrase) <= len(words) && slices.Equal(words[i:i+len(phrase)], phrase) {
				end, rest = i+len(phrase), ""
			}
		}
	}
	return end, rest
}

// looksSecret judges a name as that of a column of text.
func looksSecret(name string) bool {
	words := withoutNumbers(nameWords(name))
	end, rest := secretAt(words)
	if end == 0 {
		words = nameWords(name) // a number can be part of the word, as in md5
		if end, rest = secretAt(words); end == 0 {
			return false
		}
	}
	if end < len(words) {
		return !neutralWords[words[len(words)-1]]
	}
	return rest == "" || !neutralRun(rest)
}

// withoutNumbers drops the numbers at the end, as of password2.
func withoutNumbers(words []string) []string {
	for len(words) > 1 && strings.Trim(words[len(words)-1], "0123456789") == "" {
		words = words[:len(words)-1]
	}
	return words
}

// neutralRun reports whether a text without separators is nothing but neutral words, as the changedat of passwordchangedat.
func neutralRun(text string) bool {
	if text == "" {
		return true
	}
	for word := range neutralWords {
		if tail, ok := strings.CutPrefix(text, word); ok && neutralRun(tail) {
			return true
		}
	}
	return false
}

const (
	oidBytea, oidXML                         = 17, 142
	oidDate, oidTime, oidTimeTZ, oidInterval = 1082, 1083, 1266, 1186
)

// secretReason says why a column of that name and type must not be part of a payload, or nothing. The type 0 is unknown.
func secretReason(name string, oid uint32) string {
	t := kindOfOID[oid]
	switch {
	case oid == oidDate || oid == oidTime || oid == oidTimeTZ || oid == oidInterval, t.kind == boolKind, t.kind == timestampKind, t.kind == timestamptzKind:
		return ""
	case t.kind == jsonKind || oid == oidXML:
		return "is a whole document, which may hold secrets"
	case t.kind == intKind || t.kind == numberKind:
		if words := withoutNumbers(nameWords(name)); len(words) == 0 || !numericSecrets[words[len(words)-1]] {
			return ""
		}
	case oid == oidBytea:
		if end, _ := secretAt(nameWords(name)); end > 0 { // bytes are never only about a secret
			return "looks like a secret"
		}
	}
	if !looksSecret(name) {
		return ""
	}
	return "looks like a secret"
}

// guardSecrets reports the columns that would leave the database and must not.
func (b *boundTable) guardSecrets(p *problems) {
	t := b.table
	for i := range t.cdc.Columns {
		c := &t.cdc.Columns[i]
		if t.secret[i] || t.public[i] || c.Hash {
			continue
		}
		if reason := secretReason(c.Name, b.oids[i]); reason != "" {
			p.add(t.named[i], "%q of %s %s and would leave the database: leave it out, name it under hash (only its SHA-256 leaves), or, if it is none, under public",
				c.Name, t.name(), reason)
		}
	}
}

// PublicColumns are the columns that the mapping declares public although they look like secrets, as table.column.
func (m *Mapper) PublicColumns() []string {
	var out []string
	for _, b := range m.tables {
		for i, c := range b.table.cdc.Columns {
			if b.relation != nil && b.table.public[i] && secretReason(c.Name, b.oids[i]) != "" {
				out = append(out, b.table.name()+"."+c.Name)
			}
		}
	}
	return out
}
