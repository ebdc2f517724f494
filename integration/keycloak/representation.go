package keycloak

// What the Admin REST API calls representations, with the fields that the operations write. Names are Keycloak's own.
type (
	realm struct {
		Realm   string `json:"realm"`
		Enabled bool   `json:"enabled"`
	}

	user struct {
		ID              string              `json:"id,omitempty"`
		Username        string              `json:"username"`
		Email           string              `json:"email,omitempty"`
		FirstName       string              `json:"firstName,omitempty"`
		LastName        string              `json:"lastName,omitempty"`
		Enabled         bool                `json:"enabled"`
		Attributes      map[string][]string `json:"attributes,omitempty"`
		RequiredActions []string            `json:"requiredActions,omitempty"`
		Credentials     []credential        `json:"credentials,omitempty"`
		Groups          []string            `json:"groups,omitempty"`
		RealmRoles      []string            `json:"realmRoles,omitempty"`
	}

	credential struct {
		Type           string `json:"type"`
		Value          string `json:"value,omitempty"`
		Temporary      bool   `json:"temporary"`
		SecretData     string `json:"secretData,omitempty"`
		CredentialData string `json:"credentialData,omitempty"`
	}

	role struct {
		ID          string `json:"id,omitempty"`
		Name        string `json:"name"`
		Description string `json:"description,omitempty"`
	}

	client struct {
		ClientID       string   `json:"clientId"`
		Name           string   `json:"name,omitempty"`
		RedirectURIs   []string `json:"redirectUris,omitempty"`
		WebOrigins     []string `json:"webOrigins,omitempty"`
		Public         bool     `json:"publicClient"`
		DirectGrants   bool     `json:"directAccessGrantsEnabled"`
		ServiceAccount bool     `json:"serviceAccountsEnabled"`
		Consent        bool     `json:"consentRequired"`
		Secret         string   `json:"secret,omitempty"`
	}

	clientScope struct {
		Name        string `json:"name"`
		Description string `json:"description,omitempty"`
		Protocol    string `json:"protocol"`
	}

	protocolMapper struct {
		Name     string            `json:"name"`
		Protocol string            `json:"protocol"`
		Mapper   string            `json:"protocolMapper"`
		Config   map[string]string `json:"config"`
	}

	group struct {
		Name       string              `json:"name"`
		Attributes map[string][]string `json:"attributes,omitempty"`
	}

	identityProvider struct {
		Alias      string            `json:"alias"`
		ProviderID string            `json:"providerId"`
		Enabled    bool              `json:"enabled"`
		Config     map[string]string `json:"config"`
	}

	federatedIdentity struct {
		UserID   string `json:"userId"`
		UserName string `json:"userName"`
	}

	organization struct {
		Name    string   `json:"name"`
		Alias   string   `json:"alias"`
		Enabled bool     `json:"enabled"`
		Domains []domain `json:"domains"`
	}

	domain struct {
		Name     string `json:"name"`
		Verified bool   `json:"verified"`
	}

	component struct {
		Name         string              `json:"name"`
		ProviderID   string              `json:"providerId"`
		ProviderType string              `json:"providerType"`
		ParentID     string              `json:"parentId,omitempty"`
		Config       map[string][]string `json:"config"`
	}

	partialImport struct {
		// IfResourceExists is FAIL, SKIP or OVERWRITE.
		IfResourceExists string `json:"ifResourceExists"`
		Users            []user `json:"users"`
	}
)

// change is a part of a representation: see Admin.Edit.
type change = map[string]any
