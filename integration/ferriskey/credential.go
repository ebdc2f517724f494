package ferriskey

import (
	"context"
	"time"
)

// AddCredential gives a user a credential of one of FerrisKey's types: password, otp, recovery-code or
// webauthn-public-key-credential.
func (i *IAM) AddCredential(ctx context.Context, user, kind string) (credential string, err error) {
	credential = NewID()
	return credential, i.exec(ctx, "insert credential",
		`INSERT INTO credentials (id, salt, credential_type, user_id, secret_data, credential_data, created_at, updated_at, temporary) VALUES ($1, $2, $3, $4, $5, '{"hash_iterations": 600000}', $6, $6, false)`,
		credential, newSecret(), kind, user, newSecret(), now())
}

// DeleteCredential is an administrator's, or the user's own.
func (i *IAM) DeleteCredential(ctx context.Context, credential string) error {
	return i.change(ctx, "delete credential", `DELETE FROM credentials WHERE id = $1`, credential)
}

// replacePassword is two transactions, between which FerrisKey computes a slow hash.
func (i *IAM) replacePassword(ctx context.Context, user string) (credential string, err error) {
	if err := i.exec(ctx, "delete password", `DELETE FROM credentials WHERE user_id = $1 AND credential_type = 'password'`, user); err != nil {
		return "", err
	}
	return i.AddCredential(ctx, user, "password")
}

// ReplacePassword is an administrator's reset.
func (i *IAM) ReplacePassword(ctx context.Context, realm, user string) (credential string, err error) {
	if credential, err = i.replacePassword(ctx, user); err != nil {
		return "", err
	}
	return credential, i.record(ctx, audit{realm: realm, event: "password_reset", user: user})
}

// RequestPasswordReset is the user's "forgot password": a mail with a token.
func (i *IAM) RequestPasswordReset(ctx context.Context, realm, user string) (token string, err error) {
	token = NewID()
	return token, inOrder(
		func() error {
			return i.exec(ctx, "drop expired tokens", `DELETE FROM password_reset_tokens WHERE expires_at < now()`)
		},
		func() error {
			return i.exec(ctx, "insert reset token", `INSERT INTO password_reset_tokens (id, user_id, realm_id, token_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				NewID(), user, realm, token, newSecret(), now(), now().Add(30*time.Minute))
		},
		func() error { return i.record(ctx, audit{realm: realm, event: "email_sent", user: user}) },
		func() error { return i.record(ctx, audit{realm: realm, event: "password_reset_requested", user: user}) },
	)
}

// CompletePasswordReset is the user's new password, after the link in the mail.
func (i *IAM) CompletePasswordReset(ctx context.Context, realm, user string) (credential string, err error) {
	err = inOrder(
		func() (err error) { credential, err = i.replacePassword(ctx, user); return err },
		func() error {
			return i.exec(ctx, "drop reset tokens", `DELETE FROM password_reset_tokens WHERE user_id = $1`, user)
		},
		func() error {
			return i.exec(ctx, "drop required action", `DELETE FROM user_required_actions WHERE user_id = $1 AND action = 'update_password'`, user)
		},
		func() error { return i.endSessions(ctx, user) },
		func() error { return i.record(ctx, audit{realm: realm, event: "password_reset_completed", user: user}) },
	)
	return credential, err
}
