package ferriskey

import (
	"context"
	"time"
)

// User is what an administrator, or the user, enters. Empty names and addresses are null.
type User struct {
	Username, Firstname, Lastname, Email string
	EmailVerified, Enabled               bool
}

func (i *IAM) insertUser(ctx context.Context, id, realm, client string, u User) error {
	return i.exec(ctx, "insert user",
		`INSERT INTO users (id, realm_id, client_id, username, firstname, lastname, email, email_verified, enabled, created_at, updated_at, failed_login_attempts, locked_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, 0, NULL)`,
		id, realm, orNull(client), u.Username, orNull(u.Firstname), orNull(u.Lastname), orNull(u.Email), u.EmailVerified, u.Enabled, now())
}

// CreateUser is an administrator's.
func (i *IAM) CreateUser(ctx context.Context, realm string, u User) (user string, err error) {
	user = NewID()
	if err := i.insertUser(ctx, user, realm, "", u); err != nil {
		return "", err
	}
	return user, i.record(ctx, audit{realm: realm, event: "user_created", user: user})
}

// RegisterUser is the user's own registration, with a password and an address to verify.
func (i *IAM) RegisterUser(ctx context.Context, realm string, u User) (user, credential string, err error) {
	user = NewID()
	err = inOrder(
		func() error { return i.insertUser(ctx, user, realm, "", u) },
		func() (err error) { credential, err = i.AddCredential(ctx, user, "password"); return err },
		func() error {
			return i.exec(ctx, "require verification", `INSERT INTO user_required_actions (id, user_id, action, created_at) VALUES ($1, $2, 'verify_email', $3)`, NewID(), user, now())
		},
		func() error {
			return i.exec(ctx, "insert verification token", `INSERT INTO email_verification_tokens (id, user_id, realm_id, token_hash, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
				NewID(), user, realm, newSecret(), now().Add(24*time.Hour), now())
		},
		func() error { return i.record(ctx, audit{realm: realm, event: "user_created", user: user}) },
	)
	return user, credential, err
}

// UpdateUser writes five columns, whatever they were, and never the username. A disabled user loses tokens and sessions.
func (i *IAM) UpdateUser(ctx context.Context, user string, u User) error {
	if err := i.change(ctx, "update user", `UPDATE users SET firstname = $2, lastname = $3, email = $4, email_verified = $5, enabled = $6 WHERE id = $1`,
		user, orNull(u.Firstname), orNull(u.Lastname), orNull(u.Email), u.EmailVerified, u.Enabled); err != nil || u.Enabled {
		return err
	}
	return i.endSessions(ctx, user)
}

func (i *IAM) endSessions(ctx context.Context, user string) error {
	return inOrder(
		func() error {
			return i.exec(ctx, "revoke refresh tokens", `UPDATE refresh_tokens SET revoked = true, status = 'revoked' WHERE user_id = $1 AND NOT revoked`, user)
		},
		func() error {
			return i.exec(ctx, "revoke access tokens", `UPDATE access_tokens SET revoked = true WHERE user_id = $1 AND NOT revoked`, user)
		},
		func() error { return i.exec(ctx, "end sessions", `DELETE FROM user_sessions WHERE user_id = $1`, user) },
	)
}

// VerifyEmail is the user's click on the link in the mail: the five columns again, of which one changes.
func (i *IAM) VerifyEmail(ctx context.Context, realm, user string) error {
	return inOrder(
		func() error {
			return i.change(ctx, "verify address", `UPDATE users SET firstname = firstname, lastname = lastname, email = email, email_verified = true, enabled = enabled WHERE id = $1`, user)
		},
		func() error {
			return i.exec(ctx, "drop required action", `DELETE FROM user_required_actions WHERE user_id = $1 AND action = 'verify_email'`, user)
		},
		func() error {
			return i.exec(ctx, "use verification token", `UPDATE email_verification_tokens SET used_at = $2 WHERE user_id = $1`, user, now())
		},
		func() error { return i.record(ctx, audit{realm: realm, event: "user_email_verified", user: user}) },
	)
}

// Login is a successful one with a password. It writes to users, though nothing there changes.
func (i *IAM) Login(ctx context.Context, realm, user string) error {
	return inOrder(
		func() error {
			return i.change(ctx, "reset failed logins", `UPDATE users SET failed_login_attempts = 0, locked_until = NULL WHERE id = $1`, user)
		},
		func() error {
			return i.exec(ctx, "insert session", `INSERT INTO user_sessions (id, user_id, realm_id, user_agent, ip_address, created_at, expires_at) VALUES ($1, $2, $3, 'Mozilla/5.0', '192.0.2.7', $4, $5)`,
				NewID(), user, realm, now(), now().Add(time.Hour))
		},
		func() error {
			return i.exec(ctx, "insert refresh token", `INSERT INTO refresh_tokens (id, jti, user_id, expires_at) VALUES ($1, $2, $3, $4)`, NewID(), NewID(), user, now().Add(time.Hour))
		},
		func() error {
			return i.exec(ctx, "insert access token", `INSERT INTO access_tokens (id, token_hash, jti, user_id, realm_id, expires_at, claims) VALUES ($1, $2, $3, $4, $5, $6, '{}')`,
				NewID(), newSecret(), NewID(), user, realm, now().Add(time.Minute))
		},
		func() error { return i.record(ctx, audit{realm: realm, event: "login_success", user: user}) },
	)
}

// FailLogin is a login with a wrong password. It counts.
func (i *IAM) FailLogin(ctx context.Context, realm, user string) error {
	if err := i.change(ctx, "count failed login", `UPDATE users SET failed_login_attempts = failed_login_attempts + 1 WHERE id = $1`, user); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "login_failure", status: "failure", user: user})
}

// SetAttribute writes one of the user's attributes.
func (i *IAM) SetAttribute(ctx context.Context, realm, user, key, value string) error {
	return i.exec(ctx, "set user attribute", `INSERT INTO user_attributes (id, user_id, realm_id, key, value) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value, updated_at = now()`,
		NewID(), user, realm, key, value)
}

// DeleteUser deletes one user.
func (i *IAM) DeleteUser(ctx context.Context, realm, user string) error {
	if err := i.change(ctx, "delete user", `DELETE FROM users WHERE id = $1`, user); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "user_deleted", user: user})
}

// BulkDeleteUsers deletes users of one realm in one statement, but no service accounts.
func (i *IAM) BulkDeleteUsers(ctx context.Context, realm string, users ...string) error {
	if err := i.change(ctx, "delete users", `DELETE FROM users WHERE id = ANY($1) AND client_id IS NULL AND realm_id = $2`, users, realm); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "user_deleted", details: `{"bulk": true}`})
}

// AssignRole gives a role to a user. Giving it twice is a unique violation.
func (i *IAM) AssignRole(ctx context.Context, realm, user, role string) error {
	if err := i.insertUserRole(ctx, user, role); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "role_assigned", user: user, resource: role})
}

func (i *IAM) insertUserRole(ctx context.Context, user, role string) error {
	return i.exec(ctx, "assign role", `INSERT INTO user_role (user_id, role_id, created_at, updated_at) VALUES ($1, $2, $3, $3)`, user, role, now())
}

// UnassignRole takes a role from a user.
func (i *IAM) UnassignRole(ctx context.Context, realm, user, role string) error {
	if err := i.change(ctx, "unassign role", `DELETE FROM user_role WHERE user_id = $1 AND role_id = $2`, user, role); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "role_unassigned", user: user, resource: role})
}
