package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// tenantNames are the names of tenants by their keys, as far as they are known.
type tenantNames map[string]string

// text is how a table shows a tenant: by its name, else by its key.
func (n tenantNames) text(key string) string {
	if name := n[key]; name != "" {
		return visible(name)
	}
	return orDash(key)
}

// nameColumn returns where tenants have their names. There is none if the mapping cannot be loaded: names are only a help.
func nameColumn(cfg *config.Config) outbox.TenantNames {
	rules, err := relay.Rules(cfg)
	if err != nil {
		return outbox.TenantNames{}
	}
	table, column := rules.TenantNameColumn()
	if column == "" {
		return outbox.TenantNames{}
	}
	return outbox.TenantNames{Table: table, Column: column}
}

func readTenantNames(ctx context.Context, cfg *config.Config, store *outbox.Store, keys []string) (tenantNames, error) {
	return store.NamesOf(ctx, nameColumn(cfg), keys)
}

// tenantKey returns the key of the tenant that --tenant names by key or name. A tenant that does not exist now may have
// events, so any text may be a key.
func (s *session) tenantKey(ctx context.Context, text string) (string, error) {
	column := nameColumn(s.cfg)
	if text == "" || column.Column == "" {
		return text, nil
	}
	if names, err := s.store.NamesOf(ctx, column, []string{text}); err != nil || names[text] != "" {
		return text, err
	}
	keys, err := s.store.TenantsNamed(ctx, column.Table, column.Column, text)
	switch {
	case err != nil:
		return "", err
	case len(keys) == 1:
		return keys[0], nil
	case len(keys) > 1:
		return "", &usageError{fmt.Sprintf("several tenants are called %q; give the key of one: %s", text, strings.Join(keys, ", "))}
	}
	return text, nil
}

// warnUnknownTenant warns of a tenant that does not exist now, as a typing mistake would be.
func (s *session) warnUnknownTenant(ctx context.Context, text string) error {
	column := nameColumn(s.cfg)
	if text == "*" || column.Column == "" {
		return nil
	}
	if names, err := s.store.NamesOf(ctx, column, []string{text}); err != nil || names[text] != "" {
		return err
	}
	if keys, err := s.store.TenantsNamed(ctx, column.Table, column.Column, text); err != nil || len(keys) > 0 {
		return err
	}
	s.warn("no tenant has the key or name %q now; the webhook receives events once there is one", text)
	return nil
}
