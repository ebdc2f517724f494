package integration_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// account is what was committed: the events that must come of it.
type account struct {
	mu       sync.Mutex
	expected []ferriskey.Expected
}

func (a *account) add(expected ...ferriskey.Expected) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = append(a.expected, expected...)
}

func (a *account) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.expected)
}

// arrived returns the first delivery of each webhook-id that the path has accepted, in the order of arrival.
func arrived(s *receiver.Snapshot, path string) []receiver.Delivery {
	var first []receiver.Delivery
	for i := range s.Deliveries {
		if d := &s.Deliveries[i]; d.Path == path && d.Status/100 == 2 && !d.Duplicate {
			first = append(first, *d)
		}
	}
	return first
}

// arrives waits until as many different events have been accepted on the path as are accounted for, and compares. As long as some
// arrive it goes on waiting: the machine is only busy.
func (a *account) arrives(t testing.TB, r *receiver.Receiver, path string) []receiver.Delivery {
	t.Helper()
	var s receiver.Snapshot
	var err error
	for before := -1; ; before = s.Distinct {
		s, err = r.Wait(within(t), func(s *receiver.Snapshot) bool {
			if s.Distinct < a.len() {
				return false // a quick look: all paths together
			}
			return s.DistinctOn(path) >= a.len()
		})
		if err == nil || s.Distinct <= before {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
	got := arrived(&s, path)
	a.compare(t, path, got)
	return got
}

// compare reports what was lost, what is there that should not be, and what went to the wrong realm.
func (a *account) compare(t testing.TB, path string, got []receiver.Delivery) {
	t.Helper()
	missing := map[string]int{}
	for _, e := range a.expected {
		missing[e.Event+" "+e.Resource+" of realm "+e.Realm]++
	}
	var surplus []string
	for i := range got {
		key := got[i].Event + " " + got[i].Resource + " of realm " + got[i].Tenant
		if missing[key]--; missing[key] < 0 {
			surplus = append(surplus, key)
		}
	}
	var lost []string
	for key, n := range missing {
		for range max(n, 0) {
			lost = append(lost, key)
		}
	}
	if len(lost) > 0 || len(surplus) > 0 {
		t.Errorf("%s: of %d events, %d were lost and %d came that should not:\n%s", path, len(a.expected), len(lost), len(surplus),
			report(lost, surplus))
	}
}

func report(lost, surplus []string) string {
	var lines []string
	for _, list := range []struct {
		sign string
		keys []string
	}{{"-", lost}, {"+", surplus}} {
		for _, key := range list.keys[:min(10, len(list.keys))] {
			lines = append(lines, list.sign+" "+key)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var outboxSchema = regexp.MustCompile(`\brelay\.`)

func (w *world) inOutbox(sql string) string { return outboxSchema.ReplaceAllString(sql, w.name+".") }

// audit checks the outbox itself: each event once, numbered without gaps in the order of the WAL, and a mirror that is
// equal to the IAM's tables. The relay must have nothing left to read.
func (w *world) audit() { w.t.Helper(); w.auditIn(w.db) }

func (w *world) auditIn(outbox *pgxpool.Pool) {
	w.t.Helper()
	for what, sql := range map[string]string{
		"webhook ids that occur twice":   `SELECT count(*) FROM (SELECT webhook_id FROM relay.event GROUP BY 1 HAVING count(*) > 1) AS twice`,
		"WAL positions that occur twice": `SELECT count(*) FROM (SELECT lsn, ordinal FROM relay.event GROUP BY 1, 2 HAVING count(*) > 1) AS twice`,
		"events out of WAL order": `SELECT count(*) FROM (SELECT ROW(lsn, ordinal) < lag(ROW(lsn, ordinal)) OVER (ORDER BY id) AS backwards
			FROM relay.event WHERE name <> 'user.credentials.deleted') AS e WHERE backwards`,
		"gaps in the event ids": `SELECT abs(count(*) - coalesce(max(id), 0)) + abs((SELECT last_event FROM relay.position) - count(*)) FROM relay.event`,
	} {
		if n := value[int](w.t, outbox, w.inOutbox(sql)); n != 0 {
			w.t.Errorf("the outbox has %d %s", n, what)
		}
	}
	w.compareMirror(outbox)
}

// compareMirror compares users, whose rows the tests change most.
func (w *world) compareMirror(outbox *pgxpool.Pool) {
	w.t.Helper()
	read := func(db *pgxpool.Pool, sql string) string {
		return value[string](w.t, db, w.inOutbox(`SELECT coalesce(string_agg(u, E'\n' ORDER BY u), '') FROM (`+sql+`) AS users(u)`))
	}
	mirror := read(outbox, `SELECT concat_ws('|', key, fields->>'username', fields->>'firstname', fields->>'email') COLLATE "C" FROM relay.mirror WHERE table_name = 'users'`)
	source := read(w.db, `SELECT concat_ws('|', id, username, firstname, email) COLLATE "C" FROM users`)
	if mirror != source {
		w.t.Errorf("the mirror of users differs from the table: %d lines against %d", strings.Count(mirror, "\n"), strings.Count(source, "\n"))
	}
}

// sameAsStored checks that what arrived is, byte for byte, what the outbox holds.
func (w *world) sameAsStored(outbox *pgxpool.Pool, got []receiver.Delivery) {
	w.t.Helper()
	rows, err := outbox.Query(w.t.Context(), w.inOutbox(`SELECT webhook_id, body FROM relay.event`))
	if err != nil {
		w.t.Fatal(err)
	}
	stored := map[string][]byte{}
	for rows.Next() {
		var id string
		var body []byte
		if err := rows.Scan(&id, &body); err != nil {
			w.t.Fatal(err)
		}
		stored[id] = body
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	for i := range got {
		if !bytes.Equal(stored[got[i].ID], got[i].Body) {
			w.t.Fatalf("event %s arrived with other bytes than the outbox holds", got[i].ID)
		}
	}
}

func expect(event, resource, realm string) ferriskey.Expected {
	return ferriskey.Expected{Event: event, Resource: resource, Realm: realm}
}

// email is an address that no other user has.
func email(n int) string { return fmt.Sprintf("user-%d@example.com", n) }
