package integration_test

import (
	"strings"
	"testing"
)

// A migration that drops the key of a published table while the relay runs, or makes it deferrable, would make the application's
// UPDATE and DELETE fail from then on. The relay takes the table out of its publication, and compares it when it has a key again.
func TestWithdraw_KeyLostWhileTheRelayRuns(t *testing.T) {
	t.Parallel()
	for name, migration := range map[string]string{
		"dropped":         `ALTER TABLE docs DROP CONSTRAINT docs_pkey`,
		"made deferrable": `ALTER TABLE docs DROP CONSTRAINT docs_pkey, ADD CONSTRAINT docs_pkey PRIMARY KEY (id) DEFERRABLE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlain(t)
			relay := start(t, p.cfg)
			p.settled("first")
			p.exec(migration)
			eventually(t, "the application can update the table again", func() (bool, error) {
				_, err := p.db.Exec(t.Context(), `UPDATE docs SET n = 7 WHERE id = '1'`)
				return err == nil, nil
			})
			if said := relay.fails(); !strings.Contains(said, "table public.docs") {
				t.Errorf("it says: %s", said)
			}
			p.exec(`DELETE FROM docs WHERE id = '2'`)
			p.exec(`ALTER TABLE docs DROP CONSTRAINT IF EXISTS docs_pkey, ADD PRIMARY KEY (id)`)
			start(t, p.cfg)
			p.emits("docs.updated 1", "docs.deleted 2")
			p.settled("last")
			p.agrees("docs")
		})
	}
}
