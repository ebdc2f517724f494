package integration_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// modelSession is an administrator of one realm: a connection, and the model of what it has done. Two of them never touch the
// same rows, so that neither waits for the other, whatever they leave open.
type modelSession struct {
	m     *modelRun
	realm ferriskey.Realm
	conn  *pgx.Conn
	open  bool
	// committed is what everybody sees, working what this transaction sees, and saved what each savepoint would bring back.
	committed, working modelRealm
	saved              []modelRealm
}

func (s *modelSession) exec(sql string, arguments ...any) {
	s.m.t.Helper()
	if _, err := s.conn.Exec(s.m.t.Context(), sql, arguments...); err != nil {
		s.m.t.Fatalf("%s %v: %v", sql, arguments, err)
	}
}

func (s *modelSession) begin() {
	if !s.open {
		s.exec("BEGIN")
		s.open, s.working, s.saved = true, s.committed.clone(), nil
		clear(s.working.origins)
	}
}

func (s *modelSession) commit() {
	if !s.open {
		return
	}
	s.exec("COMMIT")
	s.open = false
	if events := between(s.realm.ID, s.committed, s.working); len(events) > 0 {
		s.m.commits = append(s.m.commits, modelCommit{s.realm.ID, events})
	}
	s.committed = s.working
}

func (s *modelSession) rollback() {
	if s.open {
		s.exec("ROLLBACK")
		s.open = false
	}
}

func (s *modelSession) savepoint(choice int) {
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

// fail runs statements of which the last one fails, and goes back to where it was.
func (s *modelSession) fail(int) {
	s.begin()
	s.exec("SAVEPOINT failure")
	s.exec(`UPDATE users SET firstname = 'never' WHERE realm_id = $1`, s.realm.ID)
	if _, err := s.conn.Exec(s.m.t.Context(), `INSERT INTO users (id, realm_id, username) VALUES ($1, $1, 'never')`, ferriskey.NewID()); err == nil {
		s.m.t.Fatal("a user without a realm was made")
	}
	s.exec("ROLLBACK TO failure")
	s.exec("RELEASE failure")
}

// pick chooses a row, the same for the same choice and the same history.
func pick[R any](rows map[string]R, choice int, which func(R) bool) (id string, row R, ok bool) {
	var ids []string
	for id, row := range rows {
		if which == nil || which(row) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", row, false
	}
	slices.Sort(ids)
	id = ids[choice%len(ids)]
	return id, rows[id], true
}

func (s *modelSession) name(kind string) string {
	s.m.named++
	return fmt.Sprint(kind, "-", s.m.named)
}

func (s *modelSession) newID() string {
	s.m.named++
	return fmt.Sprintf("0198c0de-0000-7000-8000-%012d", s.m.named)
}

// acts are what a transaction is made of of a transaction.
var acts = []func(s *modelSession, choice int){
	(*modelSession).createUser, (*modelSession).createUser, (*modelSession).createUsers, (*modelSession).updateUser, (*modelSession).updateUser,
	(*modelSession).verifyUser, (*modelSession).touchUser, (*modelSession).deleteUser, (*modelSession).deleteUsers, (*modelSession).renumberUser,
	(*modelSession).replaceUser, (*modelSession).createRole, (*modelSession).createRole, (*modelSession).updateRole, (*modelSession).updateRole,
	(*modelSession).deleteRole, (*modelSession).assign, (*modelSession).assign, (*modelSession).assign, (*modelSession).unassign, (*modelSession).createClient,
	(*modelSession).updateClient, (*modelSession).deleteClient, (*modelSession).addURI, (*modelSession).addURI, (*modelSession).updateURI,
	(*modelSession).deleteURI, (*modelSession).fail,
}

func (s *modelSession) insertUser(id string, u modelUser) {
	s.exec(`INSERT INTO users (id, realm_id, client_id, username, firstname, email, email_verified, enabled) VALUES ($1, $2, nullif($3, '')::uuid, $4, $5, nullif($6, ''), $7, $8)`,
		id, s.realm.ID, u.client, u.username, u.firstname, u.email, u.verified, u.enabled)
	s.working.users[id] = u
	s.working.origins[id] = ""
}

func (s *modelSession) createUser(choice int) {
	name := s.name("user")
	u := modelUser{username: name, firstname: "a", email: name + "@example.com", verified: choice%4 == 0, enabled: choice%3 > 0}
	if client, _, ok := pick(s.working.clients, choice, nil); ok && choice%5 == 0 {
		if _, _, taken := pick(s.working.users, 0, func(u modelUser) bool { return u.client == client }); !taken {
			u.client = client
		}
	}
	s.insertUser(s.newID(), u)
}

func (s *modelSession) createUsers(choice int) {
	count := 2 + choice%7
	if choice%10 == 0 {
		count = 400 // more than the relay keeps in memory
	}
	var ids, names []string
	for range count {
		ids, names = append(ids, s.newID()), append(names, s.name("many"))
	}
	s.exec(`INSERT INTO users (id, realm_id, username, firstname) SELECT id, $1, name, 'b' FROM unnest($2::uuid[], $3::text[]) AS t(id, name)`, s.realm.ID, ids, names)
	for i, id := range ids {
		s.working.users[id] = modelUser{username: names[i], firstname: "b", enabled: true}
	}
}

func (s *modelSession) updateUser(choice int) {
	id, u, ok := pick(s.working.users, choice/10, nil)
	if !ok {
		return
	}
	switch choice % 10 {
	case 0:
		u.username = s.name("user")
	case 1:
		u.enabled = !u.enabled
	case 2:
		u.email = s.name("mail") + "@example.com"
	default:
		u.firstname = string(rune('a' + choice%3)) // often the one that it is
	}
	s.exec(`UPDATE users SET username = $2, firstname = $3, email = nullif($4, ''), enabled = $5 WHERE id = $1`, id, u.username, u.firstname, u.email, u.enabled)
	s.working.users[id] = u
}

func (s *modelSession) verifyUser(choice int) {
	if id, u, ok := pick(s.working.users, choice/2, nil); ok {
		u.verified = choice%2 == 0
		s.exec(`UPDATE users SET email_verified = $2 WHERE id = $1`, id, u.verified)
		s.working.users[id] = u
	}
}

// touchUser writes what is no change: the counters of logins, and every row as it is.
func (s *modelSession) touchUser(choice int) {
	s.exec(`UPDATE users SET failed_login_attempts = failed_login_attempts + $2, updated_at = now() WHERE realm_id = $1`, s.realm.ID, choice%2)
	s.exec(`UPDATE roles SET name = name WHERE realm_id = $1`, s.realm.ID)
}

func (s *modelSession) deleteUser(choice int) {
	if id, _, ok := pick(s.working.users, choice, nil); ok {
		s.exec(`DELETE FROM users WHERE id = $1`, id)
		s.working.deleteUser(id)
	}
}

func (s *modelSession) deleteUsers(choice int) {
	ids := slices.Sorted(maps.Keys(s.working.users))
	ids = ids[:min(len(ids), choice%5)]
	if choice%10 == 0 {
		ids = slices.Sorted(maps.Keys(s.working.users))
	}
	s.exec(`DELETE FROM users WHERE id = ANY($1)`, ids)
	for _, id := range ids {
		s.working.deleteUser(id)
	}
}

// renumberUser changes a key: another user, as far as events show.
func (s *modelSession) renumberUser(choice int) {
	id, u, ok := pick(s.working.users, choice, nil)
	if _, _, held := pick(s.working.assigned, 0, func(a modelAssignment) bool { return a.user == id }); !ok || held {
		return
	}
	other := s.newID()
	s.exec(`UPDATE users SET id = $2 WHERE id = $1`, id, other)
	delete(s.working.users, id)
	s.working.users[other] = u
	origin, known := s.working.origins[id]
	if !known {
		origin = id
	}
	s.working.origins[other] = origin
}

// replaceUser deletes a user and inserts it again: what it had is gone.
func (s *modelSession) replaceUser(choice int) {
	id, u, ok := pick(s.working.users, choice/2, nil)
	if !ok {
		return
	}
	s.exec(`DELETE FROM users WHERE id = $1`, id)
	s.working.deleteUser(id)
	if choice%2 == 0 {
		u.firstname = "replaced"
	}
	s.insertUser(id, u)
}

func (s *modelSession) createRole(choice int) {
	r := modelRole{name: s.name("role"), permissions: choice % 8}
	if client, _, ok := pick(s.working.clients, choice/3, nil); ok && choice%3 == 0 {
		r.client = client
	}
	id := s.newID()
	s.exec(`INSERT INTO roles (id, realm_id, client_id, name, description, permissions) VALUES ($1, $2, nullif($3, '')::uuid, $4, $5, $6)`,
		id, s.realm.ID, r.client, r.name, r.description, r.permissions)
	s.working.roles[id] = r
}

func (s *modelSession) updateRole(choice int) {
	id, r, ok := pick(s.working.roles, choice/4, nil)
	if !ok {
		return
	}
	if choice%2 == 0 {
		r.description = strconv.Itoa(choice % 3)
	}
	if choice%4 > 0 {
		r.permissions = choice % 3
	}
	s.exec(`UPDATE roles SET description = $2, permissions = $3 WHERE id = $1`, id, r.description, r.permissions)
	s.working.roles[id] = r
}

func (s *modelSession) deleteRole(choice int) {
	if id, _, ok := pick(s.working.roles, choice, nil); ok {
		s.exec(`DELETE FROM roles WHERE id = $1`, id)
		s.working.deleteRole(id)
	}
}

func (s *modelSession) assign(choice int) {
	user, _, ok := pick(s.working.users, choice, nil)
	role, _, both := pick(s.working.roles, choice/7, nil)
	a := modelAssignment{user, role}
	if _, _, twice := pick(s.working.assigned, 0, func(b modelAssignment) bool { return a == b }); !ok || !both || twice {
		return
	}
	s.m.named++
	s.exec(`INSERT INTO user_role (id, user_id, role_id) VALUES ($1, $2, $3)`, s.m.named, user, role)
	s.working.assigned[strconv.Itoa(s.m.named)] = a
}

func (s *modelSession) unassign(choice int) {
	if id, a, ok := pick(s.working.assigned, choice, nil); ok {
		s.exec(`DELETE FROM user_role WHERE user_id = $1 AND role_id = $2`, a.user, a.role)
		delete(s.working.assigned, id)
	}
}

func (s *modelSession) createClient(int) {
	id, name := s.newID(), s.name("client")
	s.exec(`INSERT INTO clients (id, realm_id, name, client_id, protocol, client_type, enabled) VALUES ($1, $2, $3, $3, 'openid-connect', 'public', true)`, id, s.realm.ID, name)
	s.working.clients[id] = modelClient{name: name, enabled: true}
}

func (s *modelSession) updateClient(choice int) {
	id, c, ok := pick(s.working.clients, choice/4, nil)
	if !ok {
		return
	}
	switch choice % 4 {
	case 0:
		c.name = s.name("client")
	case 1:
		c.enabled = !c.enabled
	default:
		c.maintenance = choice%4 == 2
	}
	s.exec(`UPDATE clients SET name = $2, enabled = $3, maintenance_enabled = $4 WHERE id = $1`, id, c.name, c.enabled, c.maintenance)
	s.working.clients[id] = c
}

func (s *modelSession) deleteClient(choice int) {
	if id, _, ok := pick(s.working.clients, choice, nil); ok {
		s.exec(`DELETE FROM clients WHERE id = $1`, id)
		s.working.deleteClient(id)
	}
}

// uris are those of one kind, with their table.
func (s *modelSession) uris(choice int) (table string, uris map[string]modelURI) {
	if choice%2 == 0 {
		return "redirect_uris", s.working.logins
	}
	return "post_logout_redirect_uris", s.working.logouts
}

func (s *modelSession) addURI(choice int) {
	table, uris := s.uris(choice)
	if client, _, ok := pick(s.working.clients, choice/2, nil); ok {
		id, u := s.newID(), modelURI{client, "https://example.com/" + s.name("uri"), true}
		s.exec(`INSERT INTO `+table+` (id, client_id, value, enabled, created_at, updated_at) VALUES ($1, $2, $3, $4, now(), now())`, id, client, u.value, u.enabled)
		uris[id] = u
	}
}

func (s *modelSession) updateURI(choice int) {
	table, uris := s.uris(choice)
	if id, u, ok := pick(uris, choice/4, nil); ok {
		u.enabled = choice/2%2 == 0
		s.exec(`UPDATE `+table+` SET enabled = $2, updated_at = now() WHERE id = $1`, id, u.enabled)
		uris[id] = u
	}
}

func (s *modelSession) deleteURI(choice int) {
	table, uris := s.uris(choice)
	if id, _, ok := pick(uris, choice/2, nil); ok {
		s.exec(`DELETE FROM `+table+` WHERE id = $1`, id)
		delete(uris, id)
	}
}
