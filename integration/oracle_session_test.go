package integration_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// oracleSession is an application of the IAM with one connection, and the record of what it has done. Each session owns some
// of the orgs, so that none waits for another, whatever is left open; the administrator, who owns all, works only while no
// transaction is open.
type oracleSession struct {
	o             *oracle
	n             int // administrator is who owns all
	conn          *pgx.Conn
	open          bool
	base, working oracleState
	saved         []oracleState
}

const (
	oracleSessions = 3
	administrator  = oracleSessions
)

func (s *oracleSession) exec(sql string, arguments ...any) {
	s.o.t.Helper()
	for table, alias := range s.o.alias {
		if !strings.HasPrefix(sql, "ALTER TABLE") {
			sql = regexp.MustCompile(`\b`+table+`\b`).ReplaceAllLiteralString(sql, alias)
		}
	}
	if _, err := s.conn.Exec(s.o.t.Context(), sql, arguments...); err != nil {
		s.o.t.Fatalf("%s %.300s: %v", sql, fmt.Sprint(arguments...), err)
	}
}

func (s *oracleSession) owns(tenant string) bool {
	return s.n == administrator || s.o.owner[tenant] == s.n
}

func (s *oracleSession) begin() {
	if s.open {
		return
	}
	s.exec("BEGIN")
	s.open, s.base, s.saved = true, oracleState{}, nil
	for table, rows := range s.o.state {
		s.base[table] = maps.Clone(rows)
		maps.DeleteFunc(s.base[table], func(_ string, row oracleRow) bool { return !s.owns(row.tenant(table)) })
	}
	s.working = s.base.clone()
}

func (s *oracleSession) commit() {
	if s.open {
		s.exec("COMMIT")
		s.open = false
		s.o.committed(s.base, s.working)
	}
}

func (s *oracleSession) rollback() {
	if s.open {
		s.exec("ROLLBACK")
		s.open = false
	}
}

func (s *oracleSession) savepoint(choice int) {
	s.begin()
	if n := len(s.saved); n > 0 && choice%3 > 0 {
		at := choice / 3 % n
		if choice%3 == 1 {
			s.exec(fmt.Sprint("ROLLBACK TO s", at))
			s.working, s.saved = s.saved[at].clone(), s.saved[:at+1]
		} else {
			s.exec(fmt.Sprint("RELEASE s", at))
			s.saved = s.saved[:at]
		}
		return
	}
	s.exec(fmt.Sprint("SAVEPOINT s", len(s.saved)))
	s.saved = append(s.saved, s.working.clone())
}

// oracleActs are what transactions are made of, the frequent ones more often.
var oracleActs = slices.Concat(
	slices.Repeat([]func(*oracleSession, int){(*oracleSession).createPerson, (*oracleSession).updatePerson, (*oracleSession).updatePerson, (*oracleSession).createTeam}, 3),
	[]func(*oracleSession, int){
		(*oracleSession).createPeople, (*oracleSession).touch, (*oracleSession).deletePerson, (*oracleSession).deletePeople, (*oracleSession).renumberPerson, (*oracleSession).movePerson,
		(*oracleSession).replacePerson, (*oracleSession).updateTeam, (*oracleSession).deleteTeam, (*oracleSession).addMember, (*oracleSession).addMember, (*oracleSession).addMember,
		(*oracleSession).removeMember, (*oracleSession).giveBadge, (*oracleSession).giveBadge, (*oracleSession).changeBadge, (*oracleSession).takeBadge, (*oracleSession).createOrg,
		(*oracleSession).updateOrg, (*oracleSession).deleteOrg, (*oracleSession).addHook, (*oracleSession).addHook, (*oracleSession).redirectHook, (*oracleSession).moveHook,
		(*oracleSession).moveHook, (*oracleSession).replaceHook, (*oracleSession).toggleHook, (*oracleSession).deleteHook, (*oracleSession).rewordHook, (*oracleSession).fail,
	})

func (s *oracleSession) act(choice int) {
	s.begin()
	oracleActs[choice%len(oracleActs)](s, choice/len(oracleActs))
}

// fail runs statements of which the last one fails, and goes back to where it was.
func (s *oracleSession) fail(int) {
	s.exec("SAVEPOINT failure")
	for _, org := range slices.Sorted(maps.Keys(s.working["orgs"])) {
		s.exec(`UPDATE people SET name = 'never' WHERE org = $1`, org)
	}
	if _, err := s.conn.Exec(s.o.t.Context(), `INSERT INTO teams VALUES ('never', 'nowhere', 'never')`); err == nil {
		s.o.t.Fatal("a team without an org was made")
	}
	s.exec("ROLLBACK TO failure")
	s.exec("RELEASE failure")
}

// org chooses one of the session's.
func (s *oracleSession) org(choice int) (string, bool) {
	id, _, ok := pick(s.working["orgs"], choice, nil)
	return id, ok
}

func (s *oracleSession) createOrg(choice int) {
	id := s.o.next("org")
	if s.o.owner[id] = s.n; s.n == administrator {
		s.o.owner[id] = choice % oracleSessions
	}
	row := oracleRow{"id": id, "title": s.o.next("title")}
	s.exec(`INSERT INTO orgs VALUES ($1, $2)`, id, row["title"])
	s.working["orgs"][id] = row
}

func (s *oracleSession) updateOrg(choice int) {
	if id, row, ok := pick(s.working["orgs"], choice, nil); ok {
		row = row.with("title", s.o.next("title"))
		s.exec(`UPDATE orgs SET title = $2 WHERE id = $1`, id, row["title"])
		s.working["orgs"][id] = row
	}
}

// deleteOrg leaves each session something to do.
func (s *oracleSession) deleteOrg(choice int) {
	if id, ok := s.org(choice / 3); ok && len(s.working["orgs"]) > 2 && choice%3 == 0 {
		s.exec(`DELETE FROM orgs WHERE id = $1`, id)
		s.working.remove("orgs", id)
	}
}

func (s *oracleSession) insertPerson(row oracleRow) {
	sql, arguments := `INSERT INTO people (id, org, name, level, big) VALUES ($1, $2, $3, $4::text::integer, nullif($5, ''))`, []any{row["id"], row["org"], row["name"], row["level"], row["big"]}
	if row["note"] != "" {
		sql = `INSERT INTO people (id, org, name, level, big, note) VALUES ($1, $2, $3, $4::text::integer, nullif($5, ''), $6)`
		arguments = append(arguments, row["note"])
	}
	s.exec(sql, arguments...)
	s.working["people"][row["id"]] = row
}

// big is a value that is stored out of line, and now and then one that a transaction has to spill.
func (s *oracleSession) big(choice int) string {
	switch choice % 5 {
	case 0:
		return strings.Repeat(s.o.next("big"), 1000)
	case 1:
		return strings.Repeat(s.o.next("huge"), 4000)
	}
	return ""
}

func (s *oracleSession) createPerson(choice int) {
	if org, ok := s.org(choice); ok {
		row := oracleRow{"id": s.o.next("p"), "org": org, "name": s.o.next("name"), "level": fmt.Sprint(choice % 7)}.with("big", s.big(choice/2))
		if choice%4 == 0 && !s.o.noteless {
			row["note"] = s.o.next("note")
		}
		s.insertPerson(row)
	}
}

func (s *oracleSession) createPeople(choice int) {
	org, ok := s.org(choice)
	if !ok {
		return
	}
	count := 2 + choice%7
	if choice%10 == 0 {
		count = 400 // more than the relay keeps in memory
	}
	var ids, names []string
	for range count {
		ids, names = append(ids, s.o.next("p")), append(names, s.o.next("name"))
	}
	s.exec(`INSERT INTO people (id, org, name, level) SELECT id, $1, name, 1 FROM unnest($2::text[], $3::text[]) AS t(id, name)`, org, ids, names)
	for i, id := range ids {
		s.working["people"][id] = oracleRow{"id": id, "org": org, "name": names[i], "level": "1"}
	}
}

func (s *oracleSession) updatePerson(choice int) {
	id, row, ok := pick(s.working["people"], choice/8, nil)
	if !ok {
		return
	}
	column, value := "name", s.o.next("name")
	switch choice % 8 {
	case 0:
		column, value = "level", fmt.Sprint(choice/8%3) // often the one that it is
	case 1:
		column, value = "big", s.big(choice/8)
	case 2, 3:
		if !s.o.noteless {
			column, value = "note", s.o.next("note")
		}
	case 4:
		value = row["name"] // nothing changes
	}
	cast := map[bool]string{true: "::text::integer"}[column == "level"]
	s.exec(`UPDATE people SET `+column+` = nullif($2, '')`+cast+` WHERE id = $1`, id, value)
	s.working["people"][id] = row.with(column, value)
}

// touch writes what no event shows: a column that is not mapped, and rows as they are.
func (s *oracleSession) touch(choice int) {
	if org, ok := s.org(choice / 2); ok {
		s.exec(`UPDATE people SET seen = seen + $2 WHERE org = $1`, org, choice%2)
		s.exec(`UPDATE teams SET name = name WHERE org = $1`, org)
	}
}

func (s *oracleSession) deletePerson(choice int) {
	if id, _, ok := pick(s.working["people"], choice, nil); ok {
		s.exec(`DELETE FROM people WHERE id = $1`, id)
		s.working.remove("people", id)
	}
}

func (s *oracleSession) deletePeople(choice int) {
	ids := slices.Sorted(maps.Keys(s.working["people"]))
	ids = ids[:min(len(ids), choice%5)]
	if choice%10 == 0 {
		ids = slices.Sorted(maps.Keys(s.working["people"]))
	}
	s.exec(`DELETE FROM people WHERE id = ANY($1)`, ids)
	for _, id := range ids {
		s.working.remove("people", id)
	}
}

// alone chooses a person that no other row refers to.
func (s *oracleSession) alone(choice int) (string, oracleRow, bool) {
	refers := map[string]bool{}
	for _, table := range []string{"members", "badges"} {
		for _, row := range s.working[table] {
			refers[row["person"]] = true
		}
	}
	return pick(s.working["people"], choice, func(row oracleRow) bool { return !refers[row["id"]] })
}

// renumberPerson changes a key, or moves it on and back, or moves another row to the key that one has left.
func (s *oracleSession) renumberPerson(choice int) {
	id, row, ok := s.alone(choice / 3)
	if !ok {
		return
	}
	rename := func(from, to string) { s.exec(`UPDATE people SET id = $2 WHERE id = $1`, from, to) }
	other := s.o.next("p")
	rename(id, other)
	delete(s.working["people"], id)
	switch next, follower, found := s.alone(choice / 7); {
	case choice%3 == 0:
		rename(other, id)
		s.working["people"][id] = row
	case choice%3 == 1 && found:
		s.working["people"][other] = row.with("id", other)
		rename(next, id)
		delete(s.working["people"], next)
		s.working["people"][id] = follower.with("id", id)
	default:
		s.working["people"][other] = row.with("id", other)
	}
}

// movePerson gives a person to another org.
func (s *oracleSession) movePerson(choice int) {
	id, row, ok := s.alone(choice / 5)
	if org, found := s.org(choice); ok && found {
		row = row.with("org", org, "name", s.o.next("name"))
		s.exec(`UPDATE people SET org = $2, name = $3 WHERE id = $1`, id, org, row["name"])
		s.working["people"][id] = row
	}
}

// replacePerson deletes a person and inserts it again: what it had is gone.
func (s *oracleSession) replacePerson(choice int) {
	if id, row, ok := pick(s.working["people"], choice/2, nil); ok {
		s.exec(`DELETE FROM people WHERE id = $1`, id)
		s.working.remove("people", id)
		if choice%2 == 0 {
			row = row.with("name", s.o.next("name"))
		}
		s.insertPerson(row)
	}
}

func (s *oracleSession) createTeam(choice int) {
	if org, ok := s.org(choice); ok {
		s.insertTeam(org)
	}
}

func (s *oracleSession) insertTeam(org string) string {
	row := oracleRow{"id": s.o.next("t"), "org": org, "name": s.o.next("team")}
	s.exec(`INSERT INTO teams (id, org, name) VALUES ($1, $2, $3)`, row["id"], org, row["name"])
	s.working["teams"][row["id"]] = row
	return row["id"]
}

func (s *oracleSession) updateTeam(choice int) {
	if id, row, ok := pick(s.working["teams"], choice, nil); ok {
		row = row.with("name", s.o.next("team"))
		s.exec(`UPDATE teams SET name = $2 WHERE id = $1`, id, row["name"])
		s.working["teams"][id] = row
	}
}

func (s *oracleSession) deleteTeam(choice int) {
	if id, _, ok := pick(s.working["teams"], choice, nil); ok {
		s.exec(`DELETE FROM teams WHERE id = $1`, id)
		s.working.remove("teams", id)
	}
}

func (s *oracleSession) addMember(choice int) {
	team, row, ok := pick(s.working["teams"], choice, nil)
	person, _, found := pick(s.working["people"], choice/7, func(p oracleRow) bool { return p["org"] == row["org"] })
	if ok && found && s.working["members"][person+"/"+team] == nil {
		s.insertMember(person, team, row["org"])
	}
}

func (s *oracleSession) insertMember(person, team, org string) {
	row := oracleRow{"person": person, "team": team, "since": s.o.next("since"), "@org": org}
	s.exec(`INSERT INTO members (person, team, since) VALUES ($1, $2, $3)`, person, team, row["since"])
	s.working["members"][person+"/"+team] = row
}

func (s *oracleSession) removeMember(choice int) {
	if key, row, ok := pick(s.working["members"], choice, nil); ok {
		s.exec(`DELETE FROM members WHERE person = $1 AND team = $2`, row["person"], row["team"])
		delete(s.working["members"], key)
	}
}

func (s *oracleSession) giveBadge(choice int) {
	if person, row, ok := pick(s.working["people"], choice, nil); ok && s.o.badges {
		badge := oracleRow{"id": s.o.next("b"), "person": person, "label": s.o.next("label"), "@org": row["org"]}
		s.exec(`INSERT INTO badges VALUES ($1, $2, $3)`, badge["id"], person, badge["label"])
		s.working["badges"][badge["id"]] = badge
	}
}

func (s *oracleSession) changeBadge(choice int) {
	if id, row, ok := pick(s.working["badges"], choice, nil); ok {
		row = row.with("label", s.o.next("label"))
		s.exec(`UPDATE badges SET label = $2 WHERE id = $1`, id, row["label"])
		s.working["badges"][id] = row
	}
}

func (s *oracleSession) takeBadge(choice int) {
	if id, _, ok := pick(s.working["badges"], choice, nil); ok {
		s.exec(`DELETE FROM badges WHERE id = $1`, id)
		delete(s.working["badges"], id)
	}
}

// connect opens a connection to the IAM's database, not through the wire.
func (o *oracle) connect() *pgx.Conn {
	conn, err := pgx.Connect(o.t.Context(), o.url)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
