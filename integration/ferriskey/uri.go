package ferriskey

import "context"

// AddRedirectURI allows a client to send users back to a URI after login.
func (i *IAM) AddRedirectURI(ctx context.Context, client, value string) (uri string, err error) {
	uri = NewID()
	return uri, i.exec(ctx, "insert redirect URI", `INSERT INTO redirect_uris (id, client_id, value, enabled, created_at, updated_at) VALUES ($1, $2, $3, true, $4, $4)`, uri, client, value, now())
}

// UpdateRedirectURI writes enabled, whatever it was, and leaves updated_at.
func (i *IAM) UpdateRedirectURI(ctx context.Context, uri string, enabled bool) error {
	return i.change(ctx, "update redirect URI", `UPDATE redirect_uris SET enabled = $2 WHERE id = $1`, uri, enabled)
}

// DeleteRedirectURI deletes a client's redirect URI.
func (i *IAM) DeleteRedirectURI(ctx context.Context, client, uri string) error {
	return i.change(ctx, "delete redirect URI", `DELETE FROM redirect_uris WHERE id = $1 AND client_id = $2`, uri, client)
}

// AddPostLogoutRedirectURI allows a client to send users back to a URI after logout.
func (i *IAM) AddPostLogoutRedirectURI(ctx context.Context, client, value string) (uri string, err error) {
	uri = NewID()
	return uri, i.exec(ctx, "insert post-logout redirect URI", `INSERT INTO post_logout_redirect_uris (id, client_id, value, enabled, created_at, updated_at) VALUES ($1, $2, $3, true, $4, $4)`, uri, client, value, now())
}

// UpdatePostLogoutRedirectURI writes enabled, whatever it was, and updated_at.
func (i *IAM) UpdatePostLogoutRedirectURI(ctx context.Context, uri string, enabled bool) error {
	return i.change(ctx, "update post-logout redirect URI", `UPDATE post_logout_redirect_uris SET enabled = $2, updated_at = $3 WHERE id = $1`, uri, enabled, now())
}

// DeletePostLogoutRedirectURI deletes a client's post-logout redirect URI.
func (i *IAM) DeletePostLogoutRedirectURI(ctx context.Context, client, uri string) error {
	return i.change(ctx, "delete post-logout redirect URI", `DELETE FROM post_logout_redirect_uris WHERE id = $1 AND client_id = $2`, uri, client)
}

// AddWebOrigin allows scripts of an origin to call for a client.
func (i *IAM) AddWebOrigin(ctx context.Context, client, value string) (origin string, err error) {
	origin = NewID()
	return origin, i.exec(ctx, "insert web origin", `INSERT INTO client_web_origins (id, client_id, value, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)`, origin, client, value, now())
}

// DeleteWebOrigin deletes a client's web origin.
func (i *IAM) DeleteWebOrigin(ctx context.Context, client, origin string) error {
	return i.change(ctx, "delete web origin", `DELETE FROM client_web_origins WHERE id = $1 AND client_id = $2`, origin, client)
}
