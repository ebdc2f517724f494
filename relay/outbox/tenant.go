package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// NamesOf returns the names of tenants by their keys; keys without a known name are missing.
func (s *Store) NamesOf(ctx context.Context, names TenantNames, keys []string) (map[string]string, error) {
	found := map[string]string{}
	if names.Column == "" || len(keys) == 0 {
		return found, nil
	}
	rows, err := s.pool.Query(ctx, `SELECT k, m.fields->>$2 FROM unnest($3::text[]) k JOIN mirror m ON m.table_name = $1 COLLATE "C" AND m.key = indexed(k) COLLATE "C"
		WHERE m.fields->>$2 IS NOT NULL`, names.Table, names.Column, keys)
	if err != nil {
		return nil, fmt.Errorf("read the names of tenants: %w", err)
	}
	var key, name string
	if _, err := pgx.ForEachRow(rows, []any{&key, &name}, func() error {
		found[key] = name
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the names of tenants: %w", err)
	}
	return found, nil
}
