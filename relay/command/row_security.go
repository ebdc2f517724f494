package command

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// rowSecurity names the tables (schema.name) of which a role, which may not exist yet, may not see all rows.
func rowSecurity(ctx context.Context, conn *pgx.Conn, role string, tables []*cdc.Table) ([]string, error) {
	schemas, names := make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
	}
	rows, err := conn.Query(ctx, `SELECT n.nspname || '.' || c.relname FROM unnest($1::text[], $2::text[]) AS want (schema, name)
		JOIN pg_namespace n ON n.nspname = want.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
		LEFT JOIN pg_roles r ON r.rolname = $3
		WHERE c.relkind = 'r' AND c.relrowsecurity AND NOT coalesce(r.rolsuper OR r.rolbypassrls
			OR NOT c.relforcerowsecurity AND pg_has_role(r.oid, c.relowner, 'USAGE'), false) ORDER BY 1`, schemas, names, role)
	if err != nil {
		return nil, fmt.Errorf("look for row-level security: %w", err)
	}
	filtered, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for row-level security: %w", err)
	}
	return filtered, nil
}

func rowSecurityProblem(table, role string) string {
	return fmt.Sprintf("%s: row-level security hides rows from role %s, so the initial copy would miss them; ask an administrator to run: ALTER ROLE %s BYPASSRLS",
		table, role, quote(role))
}
