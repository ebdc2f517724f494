package ferriskey

import (
	"context"
	"time"
)

// InitiateDevice starts a device flow. The code is the row's key, and a bearer secret.
func (i *IAM) InitiateDevice(ctx context.Context, realm, client string) (deviceCode string, err error) {
	deviceCode = NewID()
	secret := newSecret()
	return deviceCode, i.exec(ctx, "insert device session",
		`INSERT INTO device_auth_sessions (device_code, user_code, client_id, realm_id, scope, status, interval_seconds, expires_at, created_at) VALUES ($1, $2, $3, $4, 'openid', 'pending', 5, $5, $6)`,
		deviceCode, secret[:4]+"-"+secret[4:8], client, realm, now().Add(10*time.Minute), now())
}

// PollDevice is the device asking whether its user has decided.
func (i *IAM) PollDevice(ctx context.Context, deviceCode string) error {
	return i.change(ctx, "poll device session", `UPDATE device_auth_sessions SET last_polled_at = $2 WHERE device_code = $1`, deviceCode, now())
}

// ApproveDevice is the user's yes.
func (i *IAM) ApproveDevice(ctx context.Context, deviceCode, user string) error {
	return i.decideDevice(ctx, deviceCode, "approved", user)
}

// DenyDevice is the user's no.
func (i *IAM) DenyDevice(ctx context.Context, deviceCode, user string) error {
	return i.decideDevice(ctx, deviceCode, "denied", user)
}

func (i *IAM) decideDevice(ctx context.Context, deviceCode, status, user string) error {
	return i.change(ctx, "decide device session", `UPDATE device_auth_sessions SET status = $2, user_id = $3 WHERE device_code = $1 AND status = 'pending'`, deviceCode, status, user)
}

// ExpireDevice is what a poll after the expiry does.
func (i *IAM) ExpireDevice(ctx context.Context, deviceCode string) error {
	return i.change(ctx, "expire device session", `UPDATE device_auth_sessions SET status = 'expired' WHERE device_code = $1 AND status = 'pending'`, deviceCode)
}
