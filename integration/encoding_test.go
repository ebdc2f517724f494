package integration_test

import (
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// In a database whose texts are in no known encoding, bytes that are not UTF-8 stop nothing: those of columns that are not mapped do
// not matter, and those of mapped ones arrive in the same way from the first copy, the stream and a comparison.
func TestEncoding_BytesThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	p := plainAt(t, clustertest.Encoded(t, "SQL_ASCII"))
	const raw = `convert_from('\x5a6feb'::bytea, 'SQL_ASCII')` // Zoë in LATIN1
	p.exec(`ALTER TABLE docs ADD COLUMN unmapped text; INSERT INTO docs VALUES (` + raw + ` || '1', 'o', 1, ` + raw + `, ` + raw + `)`)
	relay := start(t, p.cfg)
	p.settled("first")
	p.exec(`INSERT INTO docs VALUES (` + raw + `, 'o', 1, ` + raw + `, ` + raw + `), ('Zoë', 'o', 1, 'Zoë', NULL), ('` + "Zo\ufffdEB" + `', 'o', 1, NULL, ` + raw + `)`)
	p.emits("docs.created Zo\ufffdEB", "docs.created Zoë", "docs.created Zo\ufffdEF\ufffdBF\ufffdBDEB")
	p.exec(`UPDATE docs SET n = 2 WHERE unmapped = ` + raw)
	p.emits("docs.updated Zo\ufffdEB", "docs.updated Zo\ufffdEB1", "docs.updated Zo\ufffdEF\ufffdBF\ufffdBDEB")
	relay.stop()
	// The comparison finds what was changed meanwhile, and nothing else.
	p.exec(`SELECT pg_drop_replication_slot('` + p.name + `')`)
	p.exec(`DELETE FROM docs WHERE id = ` + raw)
	start(t, p.cfg)
	p.emits("docs.deleted Zo\ufffdEB")
	p.settled("last")
	for id, want := range map[string]string{"Zo\ufffdEB1": "Zo\ufffdEB", "Zoë": "Zoë"} {
		if got := value[string](t, p.store, p.inOutbox(`SELECT fields->>'opt' FROM relay.mirror WHERE table_name = 'docs' AND key = $1`), id); got != want {
			t.Errorf("mirror of %q: %q, want %q", id, got, want)
		}
	}
}
