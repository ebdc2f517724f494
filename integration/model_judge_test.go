package integration_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

func (e modelEvent) line(realm string) string {
	return fmt.Sprintf("%s %s (%s) of realm %s", e.name, e.resource, e.detail, realm)
}

// detail takes from a payload what the model calls the detail.
func detail(event string, body []byte) (string, error) {
	if event == "user.bulk_deleted" {
		var ids struct{ Data []string }
		err := json.Unmarshal(body, &ids)
		slices.Sort(ids.Data)
		return strings.Join(ids.Data, "|"), err
	}
	if event == "client.deleted" || event == "redirect_uri.deleted" {
		return "", nil
	}
	var row struct {
		Data struct{ Username, Firstname, Name, Value string }
	}
	err := json.Unmarshal(body, &row)
	if strings.HasPrefix(event, "user.") && !strings.HasPrefix(event, "user.role.") {
		return row.Data.Username + "|" + row.Data.Firstname, err
	}
	return row.Data.Name + row.Data.Value, err
}

// judge waits until what must arrive has arrived, and then looks at everything.
func (m *modelRun) judge() {
	m.t.Helper()
	for path, realm := range m.paths {
		m.judgePath(path, realm)
	}
	m.w.until("everything is done", `SELECT delivered = last_event AND NOT EXISTS (SELECT FROM relay.retry) AND NOT EXISTS (SELECT FROM relay.webhook WHERE cursor IS NOT NULL)
		FROM relay.watermark, relay.position`)
	for which := range m.relays {
		m.running(which)
	}
	m.judgeOutbox()
	m.judgeMirror()
	m.w.audit()
	m.w.order("/resource", true)
	m.w.order("/strict", false)
}

func (m *modelRun) judgePath(path, realm string) {
	m.t.Helper()
	var want []string
	for _, c := range m.commits {
		for _, e := range c.events {
			if realm == "" || realm == c.realm {
				want = append(want, e.line(c.realm))
			}
		}
	}
	s, err := m.w.hook.Wait(within(m.t), func(s *receiver.Snapshot) bool { return s.Distinct >= len(want) && len(arrived(s, path)) >= len(want) })
	if err != nil {
		m.t.Errorf("%s: %v", path, err)
	}
	var got []string
	all := arrived(&s, path)
	for _, d := range all {
		text, err := detail(d.Event, d.Body)
		if err != nil {
			m.t.Fatal(err)
		}
		got = append(got, modelEvent{d.Event, d.Resource, text}.line(d.Tenant))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s: arrived (-want +got):\n%s", path, diff)
	}
	m.w.sameAsStored(m.w.db, all)
}

// judgeOutbox compares the event log with the commits, transaction by transaction.
func (m *modelRun) judgeOutbox() {
	m.t.Helper()
	rows, err := m.w.db.Query(m.t.Context(), m.w.inOutbox(`SELECT lsn::text, name, coalesce(tenant, ''), resource, body FROM relay.event ORDER BY id`))
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	var got, want [][]string
	last := ""
	for rows.Next() {
		var lsn, realm string
		var body []byte
		var e modelEvent
		if err := rows.Scan(&lsn, &e.name, &realm, &e.resource, &body); err != nil {
			m.t.Fatal(err)
		}
		if e.detail, err = detail(e.name, body); err != nil {
			m.t.Fatal(err)
		}
		if lsn != last {
			got, last = append(got, nil), lsn
		}
		got[len(got)-1] = append(got[len(got)-1], e.line(realm))
	}
	if err := rows.Err(); err != nil {
		m.t.Fatal(err)
	}
	for _, lines := range got {
		slices.Sort(lines)
	}
	for _, c := range m.commits {
		var lines []string
		for _, e := range c.events {
			lines = append(lines, e.line(c.realm))
		}
		slices.Sort(lines)
		want = append(want, lines)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("the outbox's transactions (-want +got):\n%s", diff)
	}
}

// judgeMirror compares the mirrored rows with the tables, and the tables with the model.
func (m *modelRun) judgeMirror() {
	m.t.Helper()
	read := func(sql string, arguments ...any) string {
		return value[string](m.t, m.w.db, m.w.inOutbox(`SELECT coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), '') FROM (`+sql+`) AS t(line)`), arguments...)
	}
	for table, columns := range map[string][]string{
		"users": {"username", "firstname", "email"}, "roles": {"name", "description", "permissions", "client_id"}, "user_role": {"user_id", "role_id"},
		"clients": {"name", "client_id"}, "redirect_uris": {"value", "client_id"}, "post_logout_redirect_uris": {"value", "client_id"},
	} {
		mirrored := read(`SELECT concat_ws('|', key, fields->>'`+strings.Join(columns, `', fields->>'`)+`') FROM relay.mirror WHERE table_name = $1`, table)
		rows := read(`SELECT concat_ws('|', id, ` + strings.Join(columns, ", ") + `) FROM ` + table)
		if diff := cmp.Diff(strings.Split(rows, "\n"), strings.Split(mirrored, "\n")); diff != "" {
			m.t.Errorf("the mirror of %s (-table +mirror):\n%s", table, diff)
		}
	}
	users := value[int](m.t, m.w.db, `SELECT count(*) FROM users WHERE realm_id = ANY($1)`, []string{m.sessions[0].realm.ID, m.sessions[1].realm.ID})
	if want := len(m.sessions[0].committed.users) + len(m.sessions[1].committed.users); users != want {
		m.t.Errorf("%d users in the tables, %d in the model", users, want)
	}
}
