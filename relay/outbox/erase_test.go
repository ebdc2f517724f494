package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

func (s *fixture) bodies(sql string) map[int64]string {
	s.Helper()
	rows, err := s.store.pool.Query(s.Context(), sql)
	s.must(err)
	bodies := map[int64]string{}
	var id int64
	var body string
	_, err = pgx.ForEachRow(rows, []any{&id, &body}, func() error { bodies[id] = body; return nil })
	s.must(err)
	return bodies
}

func TestErase(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	s.webhook(Webhook{ID: 1, Origin: OriginConfig, Tenant: "*"})
	const user = `0198"\<ü` // as awkward as an id can be
	const escaped = `"0198\"\\<ü"`
	body := func(resource, data string) string {
		return `{"event":"e","timestamp":"t","resource_id":` + resource + `,"data":` + data + `}`
	}
	one := []int64{1}
	events := []Event{
		{Tenant: tenantA, Resource: user, Webhooks: one},
		{Tenant: tenantA, Resource: "role", Webhooks: one},
		{Tenant: tenantA, Resource: "role", Webhooks: one},
		{Tenant: tenantB, Resource: user, Webhooks: one},
		{Tenant: tenantA, Resource: user, Webhooks: one},
		{Tenant: tenantA, Resource: "tenant", Webhooks: one},
		{Tenant: tenantA, Resource: "", Webhooks: one},
	}
	before := map[int64]string{
		1: body(escaped, `{"id":`+escaped+`,"note":",\"data\":null}"}`),
		2: body(`"role"`, `{"user":{"id":`+escaped+`}}`),
		3: body(`"role"`, `{"user":{"id":"0198"},"text":"it says 0198\"\\<ü"}`), // another user's
		4: body(escaped, `{"email":"b"}`),
		5: body(escaped, `null`),
		6: body(`"tenant"`, `["x",`+escaped+`]`),
		7: body(`null`, escaped),
	}
	s.log(events...)
	for id, text := range before {
		s.exec(`UPDATE event SET body = $2 WHERE id = $1`, id, []byte(text))
	}
	s.exec(`UPDATE attempt SET response = 'your mail is ' || event, error = 'refused'`)
	delayed := func(ordinal int, resource, text string) DelayedEvent {
		return DelayedEvent{Event: Event{Ordinal: ordinal, LSN: 9, WebhookID: "w", Name: "n", Tenant: tenantA, Resource: resource, Occurred: time.Now(), Body: []byte(text), Webhooks: one}, Due: time.Now()}
	}
	s.must(s.leader.Commit(t.Context(), &Chunk{Delayed: []DelayedEvent{delayed(1, user, before[1]), delayed(2, "role", before[3])}}, cdc.LSN(s.last), s.last))

	e := Erasure{Resource: user, Tenant: tenantA}
	found, err := s.store.Erasable(t.Context(), e)
	s.must(err)
	if len(found.Days) != 1 || found.Days[0].Events != 4 || !found.Days[0].Day.Equal(testDay()) || found.Delayed != 1 || found.Events() != 5 {
		t.Errorf("found %+v", found)
	}
	const log = `SELECT id, convert_from(body, 'UTF8') FROM event`
	if diff := cmp.Diff(before, s.bodies(log)); diff != "" {
		t.Errorf("looking has changed it:\n%s", diff)
	}
	done, err := s.store.Erase(t.Context(), e)
	s.must(err)
	if done.Events() != 5 {
		t.Errorf("erased %+v", done)
	}
	after := map[int64]string{
		1: body(escaped, `null`), 2: body(`"role"`, `null`), 3: before[3], 4: before[4], 5: before[5], 6: body(`"tenant"`, `null`), 7: body(`null`, `null`),
	}
	if diff := cmp.Diff(after, s.bodies(log)); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int64]string{1: after[1], 2: before[3]}, s.bodies(`SELECT ordinal::bigint, convert_from(body, 'UTF8') FROM delayed_event`)); diff != "" {
		t.Errorf("delayed bodies (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int64]string{3: "your mail is 3refused", 4: "your mail is 4refused"},
		s.bodies(`SELECT event, response || error FROM attempt WHERE response IS NOT NULL OR error IS NOT NULL`)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	var version int64
	s.must(s.store.pool.QueryRow(t.Context(), `SELECT version FROM webhook`).Scan(&version))
	if version == 0 {
		t.Error("the relays were not notified")
	}
	// Once more, there is nothing left but the other tenant's.
	if found, err := s.store.Erase(t.Context(), e); err != nil || found.Events() != 0 {
		t.Errorf("again: %+v, %v", found, err)
	}
	if found, err := s.store.Erase(t.Context(), Erasure{Resource: user}); err != nil || found.Events() != 1 {
		t.Errorf("everywhere: %+v, %v", found, err)
	}
}

func TestErase_InBatches(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	const n = 2*eraseBatch + 1
	events := make([]Event, n)
	for i := range events {
		events[i].Resource = "u"
	}
	s.log(events...)
	// The first half is of yesterday.
	s.exec(`CREATE TABLE event_yesterday PARTITION OF event FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')`)
	s.exec(`ALTER TABLE event_yesterday RENAME TO event_20200101`)
	s.exec(`UPDATE event SET day = '2020-01-01' WHERE id <= $1`, n/2)
	done, err := s.store.Erase(t.Context(), Erasure{Resource: "u"})
	s.must(err)
	if len(done.Days) != 2 || done.Events() != n {
		t.Errorf("erased %d events of %d days", done.Events(), len(done.Days))
	}
	var left int
	s.must(s.store.pool.QueryRow(t.Context(), `SELECT count(*) FROM event WHERE position(convert_to('null}', 'UTF8') IN body) = 0`).Scan(&left))
	if left != 0 {
		t.Errorf("%d are left", left)
	}
}
