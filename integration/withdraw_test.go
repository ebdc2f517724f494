package integration_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// status runs the relay's status, which must succeed, and returns what it prints.
func (p *process) status() string {
	p.t.Helper()
	output, err := exec.CommandContext(within(p.t), binary, slices.Concat([]string{"status"}, p.cmd.Args[2:])...).CombinedOutput()
	if err != nil {
		p.t.Errorf("status: %v\n%s", err, output)
	}
	return string(output)
}

// A publication of another tool that makes the application's statements fail shows in the log, /readyz, status, check and the metrics with
// the same words, as long as it lasts. The relay goes on.
func TestHazard_ShownWhileItLasts(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	p.exec(`CREATE TABLE keyless (id int); INSERT INTO keyless VALUES (1)`)
	relay := start(t, p.cfg)
	p.settled("first")
	relay.metric("iam_relay_publication_hazards 0")
	p.exec(`CREATE PUBLICATION other FOR TABLE keyless`)
	const hazard = "publication other makes UPDATE or DELETE on public.keyless fail: it has no replica identity: add a primary key, or remove it from the publication"
	relay.waitFor(within(t), hazard)
	relay.metric("iam_relay_publication_hazards 1")
	for what, text := range map[string]string{"/readyz": relay.ready(true), "status": relay.status(), "check": relay.check()} {
		if !strings.Contains(text, hazard) {
			t.Errorf("%s does not show it:\n%s", what, text)
		}
	}
	p.settled("second")
	p.exec(`ALTER TABLE keyless ADD PRIMARY KEY (id)`)
	relay.waitFor(within(t), "no publication makes UPDATE or DELETE fail any longer")
	relay.metric("iam_relay_publication_hazards 0")
	for what, text := range map[string]string{"/readyz": relay.ready(true), "status": relay.status()} {
		if strings.Contains(text, "keyless") {
			t.Errorf("%s still shows it:\n%s", what, text)
		}
	}
}

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
			if said := relay.status(); !strings.Contains(said, "source    table public.docs: ") {
				t.Errorf("status says: %s", said)
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
