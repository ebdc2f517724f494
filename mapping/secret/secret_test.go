package secret

import (
	"slices"
	"strings"
	"testing"
)

var guardOIDs = map[string]uint32{
	"text": 25, "varchar": 1043, "uuid": 2950, "bool": 16, "int": 23, "numeric": 1700, "timestamp": 1114, "timestamptz": 1184, "date": 1082, "interval": 1186,
	"jsonb": 3802, "json": 114, "json[]": 199, "xml": 142, "bytea": 17, "text[]": 1009, "enum": 99999, "unknown": 0,
}

// Column names of secrets in IAMs, in all naming styles.
func TestSecretReason_Secrets(t *testing.T) {
	t.Parallel()
	for kind, names := range map[string]string{
		"text": `password hashedPassword HashedPassword hashed_password hashedpassword HASHED_PASSWORD password-hash user.password accessToken access_token AccessToken
			accesstoken ACCESSTOKEN refreshToken refresh_token id_token password_digest passwordDigest client_secret_hash clientSecret ClientSecret clientsecret
			client-secret secret secret2 password1 newPassword2 recovery_codes recoveryCodes backup_codes backupCodes totp_key totpKey TOTPKey otp otp_secret otpauth_otp
			hash salt passwordSalt private_key privateKey PrivateKey PRIVATE_KEY privatekey rsaPrivateKey api_key apiKey APIKey apikey sessionToken session_token
			csrf_token code_verifier codeVerifier device_code deviceCode user_code verification_code verificationCode confirmation_code reset_code activationCode
			webauthn_credential credential_data secret_data encryptedPassword encrypted_password passwordhash passwd pwd pin passphrase seed mnemonic magic_link
			kerberos_keytab oauth2_token smtp_pass token_hash tokenHash security_answer seawatch_pseudo_key encryption_key signingKey invite_code bearer jwt nonce
			code_challenge webauthn_challenge password_history password_hint secret_question_answer mfaCode 2fa_code one_time_code signing_key password_sha256 sha1
			bcrypt_hash Пароль_password password_ü PasswordHash pw user_pw encrypted_pw psw privKey priv_key rsaprivkey accesskey awsaccesskey pepper otpauth_url cookie
			authCookie xsrf encrypted_value ciphertext certificate_key tlsKey activation_key licenceKey resetLink password_reset_link seedphrase unlock_pattern md5 email_md5
			connectionString authorization_header passwort benutzerPasswort benutzerpasswort kennwort contraseña CONTRASENA senha mot_de_passe motdepasse wachtwoord hasło
			пароль парольПользователя 密码 用户密码 パスワード 비밀번호 lösenord`,
		"enum": "password_custom_type_token", "unknown": "password accessToken", "text[]": "recovery_codes backupCodes password_history", "varchar": "clientSecret",
		"uuid": "token device_code reset_token secret", "bytea": "keystore_p12 webauthn_credential_id token_id password hash salt secret_key publicKeyCredentialId",
		"int": "pin otp loginPin totp_code verification_code passcode", "numeric": "otp",
		"jsonb": "meta config credential_data anything", "json": "payload", "json[]": "documents", "xml": "assertion",
	} {
		for name := range strings.FieldsSeq(names) {
			if Reason(name, guardOIDs[kind]) == "" {
				t.Errorf("%s %s is not recognized as a secret", kind, name)
			}
		}
	}
}

// Columns that describe a secret, or whose names only resemble one.
func TestSecretReason_Harmless(t *testing.T) {
	t.Parallel()
	for kind, names := range map[string]string{
		"bool": `enable_password enablePassword password_set has_secret token otp revoke_refresh_token store_token secret password`,
		"int": `password_length passwordLength password_attempts token_count access_token_lifetime_secs failed_otp_attempts token_version hash_iterations tokens backup_codes_remaining
			country_code key_size`,
		"timestamp": "password_changed_at secret password", "timestamptz": "passwordChangedAt token otp_verified", "date": "password_expiry secret", "interval": "token_ttl password",
		"uuid": "token_id tokenId access_token_id reset_password_template_id credential_id secret_id magic_link_template_id",
		"text": `username email name firstName credential_type credentialType token_type tokentype password_changed_at passwordChangedAt passwordchangedat password_policy
			token_endpoint_auth_method id_token_signed_response_alg passwordHashAlgorithm secret_name client_id client_name public_key publicKey keyboard
			monkey hashtag_ secretary secretary_name tokenized passwordless pinned shipping opinion seedling_ passport compass bypass_reason passenger
			country_code currency_code postal_code description value key code locale otherwise potpourri saltwater password_id tokenid credential_status
			cookie_consent cookie_domain cookiePolicy secretion sort_key foreign_key translation_key authorization_url reset_count link pathway p2p md markdown
			encrypted_response_alg activation_status`,
		"enum": "token_type password_status", "unknown": "token_type password_policy name", "bytea": "avatar photo public_key",
	} {
		for name := range strings.FieldsSeq(names) {
			if reason := Reason(name, guardOIDs[kind]); reason != "" {
				t.Errorf("%s %s %s", kind, name, reason)
			}
		}
	}
}

func TestNameWords(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"access_token": {"access", "token"}, "accessToken": {"access", "token"}, "AccessToken": {"access", "token"}, "access-token": {"access", "token"},
		"ACCESS_TOKEN": {"access", "token"}, "APIKey": {"api", "key"}, "apiKEY": {"api", "key"}, "oauth2Token": {"oauth", "2", "token"}, "a.b c": {"a", "b", "c"},
		"_x_": {"x"}, "": nil, "__": nil, "TOTPKey2": {"totp", "key", "2"}, "größeÜber": {"größe", "über"},
	} {
		if got := nameWords(name); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
