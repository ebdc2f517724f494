package ferriskey

import "context"

// Client is what an administrator enters. An empty name is the client id, an empty secret null.
type Client struct {
	ClientID, Name, Secret string
	Public                 bool
	// ServiceAccount gives the client a user of its own.
	ServiceAccount bool
}

func (i *IAM) insertClient(ctx context.Context, realm string, c Client) (client string, err error) {
	client = NewID()
	if c.Name == "" {
		c.Name = c.ClientID
	}
	kind := "confidential"
	if c.Public {
		kind = "public"
	}
	return client, i.exec(ctx, "insert client",
		`INSERT INTO clients (id, realm_id, name, client_id, secret, enabled, protocol, public_client, service_account_enabled, client_type, created_at, updated_at,
			direct_access_grants_enabled, maintenance_enabled, maintenance_session_strategy, oauth_device_code_grant_enabled, require_pkce)
		VALUES ($1, $2, $3, $4, $5, true, 'openid-connect', $6, $7, $8, $9, $9, false, false, 'expire', true, false)`,
		client, realm, c.Name, c.ClientID, orNull(c.Secret), c.Public, c.ServiceAccount, kind, now())
}

// CreateClient makes a client, maps the realm's default scopes to it, and gives it a service account where it is to have
// one; else serviceAccount is empty.
func (i *IAM) CreateClient(ctx context.Context, realm string, c Client) (client, serviceAccount string, err error) {
	if client, err = i.insertClient(ctx, realm, c); err != nil {
		return "", "", err
	}
	for _, scope := range []string{"openid", "profile", "email", "roles"} {
		if err := i.exec(ctx, "map client scope", `INSERT INTO client_scope_mappings (client_id, client_scope_id, default_scope_type) SELECT $1, id, default_scope_type FROM client_scopes WHERE realm_id = $2 AND name = $3`,
			client, realm, scope); err != nil {
			return "", "", err
		}
	}
	if c.ServiceAccount {
		serviceAccount = NewID()
		if err := i.insertUser(ctx, serviceAccount, realm, client, User{Username: "service-account-" + c.ClientID, Enabled: true}); err != nil {
			return "", "", err
		}
	}
	return client, serviceAccount, i.record(ctx, audit{realm: realm, event: "client_created"})
}

// UpdateClient writes the name, and with it the four lifetimes, which become null when they are not given.
func (i *IAM) UpdateClient(ctx context.Context, client, name string) error {
	return i.change(ctx, "update client",
		`UPDATE clients SET name = $2, access_token_lifetime_secs = NULL, refresh_token_lifetime_secs = NULL, id_token_lifetime_secs = NULL, temporary_token_lifetime_secs = NULL, updated_at = $3 WHERE id = $1`,
		client, name, now())
}

// SetClientMaintenance closes a client to its users, or opens it again. reason is for closing only.
func (i *IAM) SetClientMaintenance(ctx context.Context, realm, client string, enabled bool, reason string) error {
	event := "client_maintenance_disabled"
	if enabled {
		event = "client_maintenance_enabled"
	}
	if err := i.change(ctx, "set client maintenance",
		`UPDATE clients SET maintenance_enabled = $2, maintenance_reason = $3, maintenance_session_strategy = 'terminate',
			access_token_lifetime_secs = NULL, refresh_token_lifetime_secs = NULL, id_token_lifetime_secs = NULL, temporary_token_lifetime_secs = NULL, updated_at = $4
		WHERE id = $1`, client, enabled, orNull(reason), now()); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: event, resource: client})
}

// AllowInMaintenance lets a user into a client that is closed for maintenance.
func (i *IAM) AllowInMaintenance(ctx context.Context, client, user string) error {
	return i.exec(ctx, "allow in maintenance", `INSERT INTO client_maintenance_whitelist (id, client_id, user_id) VALUES ($1, $2, $3)`, NewID(), client, user)
}

// DeleteClient deletes a client, and with it its roles, URIs, origins and service account.
func (i *IAM) DeleteClient(ctx context.Context, realm, client string) error {
	if err := i.change(ctx, "delete client", `DELETE FROM clients WHERE id = $1 AND realm_id = $2`, client, realm); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "client_deleted", resource: client})
}
