package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// WithdrawRefused removes those mapped tables from the named publication because of which the server rejects UPDATE and DELETE
// of the application, and returns them (schema.name, sorted). It leaves tables that are published through a schema or a
// partitioned table: see Publication.Problems. The error is a *PermissionError if the role is not allowed to alter the
// publication.
func WithdrawRefused(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) ([]string, error) {
	hazards, err := PublicationHazards(ctx, conn)
	if err != nil {
		return nil, err
	}
	var named []string
	var table string
	if err := queryEach(ctx, conn, namedTables, []any{name}, []any{&table}, func() { named = append(named, table) }); err != nil {
		return nil, fmt.Errorf("look up the tables of publication %s: %w", name, err)
	}
	var refused, statements []string
	for _, h := range hazards {
		if h.Publication == name && containsTable(tables, h.Table) && slices.Contains(named, h.Table) && !slices.Contains(refused, h.Table) {
			refused = append(refused, h.Table)
			statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s;", pgx.Identifier{name}.Sanitize(), quoteQualified(h.Table)))
		}
	}
	if len(statements) == 0 {
		return nil, nil
	}
	err = execAll(ctx, conn, statements)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == codeNoPrivilege {
		return nil, &PermissionError{Action: "alter publication " + name, RunAs: "its owner", SQL: statements, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("alter publication %s: %w", name, err)
	}
	return refused, nil
}

// namedTables selects the tables that the publication lists itself, not those published through a schema or a partitioned table.
const namedTables = `SELECT n.nspname || '.' || c.relname FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1 ORDER BY 1`
