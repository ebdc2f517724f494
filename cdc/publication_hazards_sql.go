package cdc

// identityIndex is a condition that is true if index i is the replica identity of table c. An invalid or deferrable index is
// not one, not even that of the primary key (RelationGetIndexList in relcache.c).
const identityIndex = `i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)`

// publishedTablesCTE returns the beginning of a query: all tables of all publications, including those published through a
// schema or a partitioned table, under their own names.
func publishedTablesCTE(major int) string {
	schemas := ""
	if major >= 15 {
		schemas = `
  UNION SELECT s.pnpubid, c.oid FROM pg_publication_namespace s
    JOIN pg_class c ON c.relnamespace = s.pnnspid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'`
	}
	return `WITH RECURSIVE published (publication, relation) AS (
  SELECT p.oid, c.oid FROM pg_publication p, pg_class c
    WHERE p.puballtables AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
  UNION SELECT prpubid, prrelid FROM pg_publication_rel` + schemas + `
  UNION SELECT m.publication, i.inhrelid FROM published m
    JOIN pg_inherits i ON i.inhparent = m.relation JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
`
}

// The queries for tables whose UPDATE and DELETE the server rejects:
// https://www.postgresql.org/docs/current/logical-replication-publication.html
const (
	// withoutIdentity selects tables without a replica identity.
	withoutIdentity = `SELECT p.pubname, n.nspname || '.' || c.relname,
  CASE WHEN c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate)
    THEN 'its primary key is deferrable and therefore not a replica identity: make the key NOT DEFERRABLE'
    ELSE 'it has no replica identity: add a primary key' END
FROM published m
JOIN pg_publication p ON p.oid = m.publication AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = m.relation AND c.relkind = 'r'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE ` + identityIndex + `)`
	// uncoveredIdentity selects tables whose column list does not include the replica identity, or whose row filter uses other
	// columns; PostgreSQL 15 and newer.
	uncoveredIdentity = `SELECT p.pubname, n.nspname || '.' || c.relname, 'its column list does not include the replica identity: add those columns to the list'
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.prattrs IS NOT NULL AND (c.relreplident = 'f' OR EXISTS (
  SELECT FROM pg_index i, unnest(i.indkey::int2[]) k WHERE ` + identityIndex + ` AND k <> ALL (r.prattrs::int2[])))
UNION ALL
SELECT p.pubname, n.nspname || '.' || c.relname, 'its row filter uses a column outside the replica identity: remove the row filter'
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = r.prrelid AND c.relreplident <> 'f'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.prqual IS NOT NULL AND EXISTS (
  SELECT FROM regexp_matches(r.prqual::text, ':varattno (\d+)', 'g') AS v (attno)
  WHERE NOT EXISTS (SELECT FROM pg_index i, unnest(i.indkey::int2[]) k WHERE ` + identityIndex + ` AND k = v.attno[1]::int2))`
	// unpublishedColumn is a condition that is true if table c has replica identity FULL and a generated column that
	// publication p does not publish: a stored one without publish_generated_columns = stored, or any virtual one. PostgreSQL
	// 18 and newer.
	unpublishedColumn = `c.relreplident = 'f' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.attgenerated = 'v' OR a.attgenerated = 's' AND p.pubgencols IS DISTINCT FROM 's'))`
	// unpublishedGenerated selects tables with replica identity FULL and an unpublished generated column.
	unpublishedGenerated = `SELECT p.pubname, n.nspname || '.' || c.relname, '` + generatedReason + `'
FROM published m
JOIN pg_publication p ON p.oid = m.publication AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = m.relation AND c.relkind = 'r'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE ` + unpublishedColumn
	generatedReason = `its replica identity FULL includes a generated column that is not published: use REPLICA IDENTITY DEFAULT`
)
