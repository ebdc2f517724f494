package ferriskey

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Realm is a realm with the rows that FerrisKey makes along with it.
type Realm struct {
	ID         string
	Name       string
	SettingsID string
	// AdminCLI, Account and Console are its own clients, and ConsoleURI the redirect URI of the last. The master realm has
	// no Account.
	AdminCLI, Account, Console, ConsoleURI string
	// ManagementClient, and ManagementRole of that client, lie in the master realm and are called "<name>-realm". They
	// outlive the realm: FerrisKey 0.7 looks for them in the wrong realm when it deletes.
	ManagementClient, ManagementRole string
}

// Bootstrap is FerrisKey's first start: the master realm, its clients and its administrator. It sets Master and Admin.
func (i *IAM) Bootstrap(ctx context.Context) (Realm, error) {
	realm := Realm{ID: NewID(), Name: "master", SettingsID: NewID()}
	admin := NewID()
	err := inOrder(
		func() error { return i.insertRealm(ctx, realm, "") },
		func() (err error) { realm.Console, realm.ConsoleURI, err = i.insertConsole(ctx, realm); return err },
		func() (err error) {
			realm.AdminCLI, err = i.insertClient(ctx, realm.ID, Client{ClientID: "admin-cli", Public: true})
			return err
		},
		func() (err error) {
			realm.ManagementClient, err = i.insertClient(ctx, realm.ID, Client{ClientID: "master-realm", Public: true})
			return err
		},
		func() error {
			return i.insertUser(ctx, admin, realm.ID, "", User{Username: "admin", Email: "admin@example.com", Enabled: true})
		},
		func() (err error) {
			realm.ManagementRole, err = i.insertRole(ctx, realm.ID, realm.ManagementClient, "master-realm", ManageRealm)
			return err
		},
		func() error { return i.insertUserRole(ctx, admin, realm.ManagementRole) },
		func() (err error) { _, err = i.AddCredential(ctx, admin, "password"); return err },
	)
	if err != nil {
		return Realm{}, fmt.Errorf("bootstrap: %w", err)
	}
	i.Master, i.Admin = realm, admin
	return realm, nil
}

// defaultScopes are the client scopes of a new realm and the mappers of each.
var defaultScopes = []struct {
	name    string
	kind    string
	mappers []string
}{
	{"openid", "DEFAULT", nil},
	{"profile", "DEFAULT", []string{"given_name", "family_name", "preferred_username"}},
	{"email", "DEFAULT", []string{"email", "email_verified"}},
	{"roles", "DEFAULT", []string{"realm_access"}},
	{"organization", "DEFAULT", []string{"organizations", "organization_roles"}},
	{"offline_access", "OPTIONAL", nil},
	{"phone", "OPTIONAL", []string{"phone_number"}},
	{"address", "OPTIONAL", []string{"address"}},
}

// CreateRealm makes a realm in about 35 transactions, four of which leave something in the master realm.
func (i *IAM) CreateRealm(ctx context.Context, name, displayName string) (Realm, error) {
	realm := Realm{ID: NewID(), Name: name, SettingsID: NewID()}
	err := inOrder(
		func() error { return i.insertRealm(ctx, realm, displayName) },
		func() (err error) {
			realm.ManagementClient, err = i.insertClient(ctx, i.Master.ID, Client{ClientID: name + "-realm", Secret: newSecret()})
			return err
		},
		func() (err error) {
			realm.ManagementRole, err = i.insertRole(ctx, i.Master.ID, realm.ManagementClient, name+"-realm", ManageRealm)
			return err
		},
		func() error { return i.insertUserRole(ctx, i.Admin, realm.ManagementRole) },
		func() (err error) {
			realm.AdminCLI, err = i.insertClient(ctx, realm.ID, Client{ClientID: "admin-cli", Public: true})
			return err
		},
		func() (err error) {
			realm.Account, err = i.insertClient(ctx, realm.ID, Client{ClientID: "ferriskey-account", Public: true})
			return err
		},
		func() error { return i.insertScopes(ctx, realm) },
		func() (err error) { realm.Console, realm.ConsoleURI, err = i.insertConsole(ctx, realm); return err },
	)
	if err != nil {
		return Realm{}, fmt.Errorf("create realm %s: %w", name, err)
	}
	return realm, nil
}

func (i *IAM) insertRealm(ctx context.Context, realm Realm, displayName string) error {
	if err := i.exec(ctx, "insert realm", `INSERT INTO realms (id, name, display_name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)`,
		realm.ID, realm.Name, orNull(displayName), now()); err != nil {
		return err
	}
	return i.exec(ctx, "insert realm settings", `INSERT INTO realm_settings (id, realm_id, default_signing_algorithm, updated_at) VALUES ($1, $2, 'RS256', $3)`,
		realm.SettingsID, realm.ID, now())
}

func (i *IAM) insertConsole(ctx context.Context, realm Realm) (client, uri string, err error) {
	if client, err = i.insertClient(ctx, realm.ID, Client{ClientID: "security-admin-console", Public: true}); err != nil {
		return "", "", err
	}
	uri, err = i.AddRedirectURI(ctx, client, "https://iam.example.com/realms/"+realm.Name+"/authentication/callback")
	return client, uri, err
}

func (i *IAM) insertScopes(ctx context.Context, realm Realm) error {
	for _, scope := range defaultScopes {
		id := NewID()
		if err := i.exec(ctx, "insert client scope", `INSERT INTO client_scopes (id, realm_id, name, protocol, default_scope_type) VALUES ($1, $2, $3, 'openid-connect', $4)`,
			id, realm.ID, scope.name, scope.kind); err != nil {
			return err
		}
		if err := i.exec(ctx, "map client scope", `INSERT INTO client_scope_mappings (client_id, client_scope_id, default_scope_type) VALUES ($1, $2, $3)`,
			realm.Account, id, scope.kind); err != nil {
			return err
		}
		for _, mapper := range scope.mappers {
			if err := i.exec(ctx, "insert protocol mapper", `INSERT INTO client_scope_protocol_mappers (id, client_scope_id, name, mapper_type, config) VALUES ($1, $2, $3, 'oidc-usermodel-property-mapper', $4)`,
				NewID(), id, mapper, `{"claim.name": "`+mapper+`"}`); err != nil {
				return err
			}
		}
	}
	return nil
}

// UpdateRealm writes both names and updated_at, whatever they were.
func (i *IAM) UpdateRealm(ctx context.Context, id, name, displayName string) error {
	return i.change(ctx, "update realm", `UPDATE realms SET name = $2, display_name = $3, updated_at = $4 WHERE id = $1`, id, name, orNull(displayName), now())
}

// UpdateRealmSettings writes the given columns of realm_settings, whatever they were.
func (i *IAM) UpdateRealmSettings(ctx context.Context, realm string, columns map[string]any) error {
	arguments := []any{realm}
	var set []string
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		arguments = append(arguments, columns[name])
		set = append(set, fmt.Sprintf("%s = $%d", pgx.Identifier{name}.Sanitize(), len(arguments)))
	}
	return i.change(ctx, "update realm settings", "UPDATE realm_settings SET "+strings.Join(set, ", ")+" WHERE realm_id = $1", arguments...)
}

// ActivateTheme makes a portal theme and activates it: a change of realm_settings that is none of the settings.
func (i *IAM) ActivateTheme(ctx context.Context, realm, name string) (theme string, err error) {
	theme = NewID()
	if err := i.exec(ctx, "insert portal theme", `INSERT INTO portal_themes (id, realm_id, name) VALUES ($1, $2, $3)`, theme, realm, name); err != nil {
		return "", err
	}
	return theme, i.UpdateRealmSettings(ctx, realm, map[string]any{"portal_theme_id": theme, "updated_at": now()})
}

// DeleteRealm deletes by name, and everything in the realm with it; then it looks for the management client in the deleted
// realm, where it is not.
func (i *IAM) DeleteRealm(ctx context.Context, realm Realm) error {
	if err := i.change(ctx, "delete realm", `DELETE FROM realms WHERE name = $1`, realm.Name); err != nil {
		return err
	}
	return i.exec(ctx, "delete management client", `DELETE FROM clients WHERE id = $1 AND realm_id = $2`, realm.ManagementClient, realm.ID)
}

// Migrate is the bookkeeping of a schema migration that changes no row of interest.
func (i *IAM) Migrate(ctx context.Context, version int64, description string) error {
	if err := i.exec(ctx, "record migration", `INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, -1)`,
		version, description, []byte(newSecret())); err != nil {
		return err
	}
	return i.change(ctx, "time migration", `UPDATE _sqlx_migrations SET execution_time = 1234567 WHERE version = $1`, version)
}

// inOrder runs steps until one fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
