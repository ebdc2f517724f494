package ferriskey

import "context"

// Some of the bits of roles.permissions.
const (
	ManageRealm int64 = 1 << 5
	ManageUsers int64 = 1 << 6
	ViewUsers   int64 = 1 << 17
	ViewRoles   int64 = 1 << 18
)

func (i *IAM) insertRole(ctx context.Context, realm, client, name string, permissions int64) (role string, err error) {
	role = NewID()
	return role, i.exec(ctx, "insert role", `INSERT INTO roles (id, name, description, permissions, realm_id, client_id, require_mfa, created_at, updated_at) VALUES ($1, $2, NULL, $3, $4, $5, false, $6, $6)`,
		role, name, permissions, realm, orNull(client), now())
}

// CreateRole makes a role of the realm.
func (i *IAM) CreateRole(ctx context.Context, realm, name string, permissions int64) (role string, err error) {
	return i.CreateClientRole(ctx, realm, "", name, permissions)
}

// CreateClientRole makes a role of a client. What changes and deletes roles is the same for both kinds.
func (i *IAM) CreateClientRole(ctx context.Context, realm, client, name string, permissions int64) (role string, err error) {
	if role, err = i.insertRole(ctx, realm, client, name, permissions); err != nil {
		return "", err
	}
	return role, i.record(ctx, audit{realm: realm, event: "role_created", resource: name})
}

// UpdateRole writes name and description, whatever they were, and leaves updated_at.
func (i *IAM) UpdateRole(ctx context.Context, role, name, description string) error {
	return i.change(ctx, "update role", `UPDATE roles SET name = $2, description = $3 WHERE id = $1`, role, name, orNull(description))
}

// SetRolePermissions writes the whole set of permissions, whatever it was.
func (i *IAM) SetRolePermissions(ctx context.Context, role string, permissions int64) error {
	return i.change(ctx, "set role permissions", `UPDATE roles SET permissions = $2 WHERE id = $1`, role, permissions)
}

// DeleteRole deletes a role, and takes it from all who have it.
func (i *IAM) DeleteRole(ctx context.Context, realm, role string) error {
	if err := i.change(ctx, "delete role", `DELETE FROM roles WHERE id = $1`, role); err != nil {
		return err
	}
	return i.record(ctx, audit{realm: realm, event: "role_removed"})
}
