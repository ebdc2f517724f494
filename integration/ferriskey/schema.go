package ferriskey

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schemaSQL string

// Create makes FerrisKey's tables in the named schema, which it creates where it is missing. It leaves the connection's
// search_path on that schema, as FerrisKey's DATABASE_SCHEMA does for its own connections; an IAM on another connection
// needs the same search_path.
func Create(ctx context.Context, conn *pgx.Conn, schema string) error {
	name := pgx.Identifier{schema}.Sanitize()
	for _, sql := range []string{"CREATE SCHEMA IF NOT EXISTS " + name, "SET search_path TO " + name, schemaSQL} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("create FerrisKey's tables in schema %s: %w", schema, err)
		}
	}
	return nil
}
