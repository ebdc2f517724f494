package secret

import "strings"

// secretWords make a column a secret anywhere in its name, unless the name ends with one of neutralWords.
var secretWords = wordSet(`password passwords passwd pwd pass passphrase passphrases passcode passcodes passkey passkeys secret secrets salt salts
	token tokens jwt jws jwe bearer otp otps totp hotp seed seeds mnemonic pin pins pincode hash hashes hashed digest digests hmac sha bcrypt argon scrypt pbkdf
	credential credentials creds cred apikey apikeys privkey privatekey secretkey pem keytab keystore pkcs pfx psk verifier challenge nonce
	cvv cvc ssn tokenhash passhash pwdhash pw pws psw pepper otpauth puk csrf xsrf cookie cookies encrypted ciphertext
	senha senhas segredo segreto secreto parola şifre sifre hasło haslo heslo lösenord losenord passord adgangskode salasana jelszó geheimnis`)

// secretPhrases are sequences of words that make a column a secret.
var secretPhrases = phrases(`private key|private keys|secret key|api key|api keys|pseudo key|encryption key|signing key|access key|master key|shared key|recovery key|
	recovery keys|session key|totp key|otp key|hmac key|ssh key|license key|key material|recovery code|recovery codes|backup code|backup codes|scratch code|
	scratch codes|device code|user code|auth code|authorization code|authorisation code|verification code|confirmation code|activation code|reset code|login code|
	sms code|mfa code|tfa code|2 fa code|one time code|security code|access code|invite code|invitation code|code verifier|code challenge|magic link|security answer|
	security answers|secret answer|credential data|key hash|priv key|decryption key|symmetric key|root key|rsa key|aes key|auth key|account key|activation key|licence key|
	certificate key|cert key|ssl key|tls key|preshared key|shared access signature|connection string|reset link|login link|activation link|confirmation link|verification link|
	invite link|invitation link|unlock pattern|authorization header|mot de passe|md 5|p 12`)

// neutralWords at the end of a name mean that the column describes a secret but does not contain it.
var neutralWords = wordSet(`id ids uuid type types kind count counts length len size policy policies enabled disabled required allowed active at on date time expires expiry
	expiration expired ttl lifetime lifespan secs seconds minutes hours days ms age version algorithm algorithms alg algo name names label status state changed updated
	created modified used revoked verified confirmed set temporary provider issuer method methods strategy template max min limit limits attempts iterations rounds
	endpoint bits format usage audience scope scopes purpose user owner consent domain path`)

// numericSecrets are names of codes that people type, which a number can be.
var numericSecrets = wordSet(`pin pins pincode otp otps totp hotp passcode passcodes password passwd pwd cvv cvc ssn code`)

// secretRoots are searched for inside words without separators, such as accesstoken. innocentWords contain one by chance.
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
