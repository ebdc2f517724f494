package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

func (c *sourceCheck) publication(ctx context.Context) error {
	p, err := cdc.PublicationStatus(ctx, c.conn, c.cfg.Source.Publication, c.rules.Tables())
	if err != nil {
		return err
	}
	for _, problem := range p.Problems() {
		c.fail("publication", "%s: %s", p.Name, problem)
	}
	if p.ColumnLists != nil {
		c.warning("publication", "%s: it has column lists on %s; migrations that drop such a column fail, and mapped columns may be missing; remove the tables from it and add them again without", p.Name, strings.Join(p.ColumnLists, ", "))
	}
	if p.Descendants != nil && !p.AllTables && p.Schemas == nil {
		c.warning("publication", "%s: it also publishes %s, which inherit from mapped tables and are not read; remove them with ALTER PUBLICATION … DROP TABLE ONLY", p.Name, strings.Join(p.Descendants, ", "))
	}
	if p.Extra != nil && !p.AllTables && p.Schemas == nil {
		c.warning("publication", "%s: it also publishes %s, which the mapping does not use; remove them from it", p.Name, some(p.Extra))
	}
	sql := p.SQL()
	if len(sql) == 0 {
		if len(p.Problems()) == 0 {
			c.ok("publication", "%s has all mapped tables", p.Name)
		}
		return nil
	}
	may, err := c.mayPublish(ctx, p)
	if err != nil {
		return err
	}
	state, repair := "does not exist", "creates it"
	if p.Exists {
		state, repair = "lacks mapped tables or operations", "adds them"
	}
	if may && c.cfg.Source.CreatePublication {
		c.pending("publication", "%s %s; iam-relay run %s", p.Name, state, repair)
	} else {
		c.fail("publication", "%s %s; ask %s to run: %s", p.Name, state, p.RunAs(), strings.Join(sql, " "))
	}
	return nil
}

// mayPublish reports whether the role may create or repair the publication.
func (c *sourceCheck) mayPublish(ctx context.Context, p cdc.Publication) (bool, error) {
	schemas, names := make([]string, len(p.Missing)), make([]string, len(p.Missing))
	for i, t := range p.Missing {
		schemas[i], names[i] = t.Schema, t.Name
	}
	var may bool
	err := c.conn.QueryRow(ctx, `SELECT CASE WHEN $1 THEN coalesce((SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = $2), false)
			ELSE has_database_privilege(current_database(), 'CREATE') END
		AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[]) AS want (schema, name)
			JOIN pg_namespace n ON n.nspname = want.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
			WHERE NOT pg_has_role(c.relowner, 'USAGE'))`, p.Exists, p.Name, schemas, names).Scan(&may)
	if err != nil {
		return false, fmt.Errorf("look up who owns the mapped tables: %w", err)
	}
	return may, nil
}

// otherPublications checks for publications that make statements of the IAM fail.
func (c *sourceCheck) otherPublications(ctx context.Context) error {
	hazards, err := cdc.PublicationHazards(ctx, c.conn)
	if err != nil {
		return err
	}
	for i, h := range hazards {
		if i == maxListed {
			c.fail("others", "%d more tables of other publications have this problem", len(hazards)-i)
			break
		}
		c.fail("others", "%s", h)
	}
	if len(hazards) == 0 {
		c.ok("others", "no publication makes the IAM's own UPDATE or DELETE fail")
	}
	return nil
}

// maxListed is how many names one line lists.
const maxListed = 10

// some lists the first names, and the number of the others.
func some(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}
