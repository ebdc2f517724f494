package integration_test

import (
	"fmt"
	"slices"
	"strings"
)

// What an application does to the IAM's webhooks. Each URL has a path of its own, so that a request says which webhook it is
// for, and which tenant that belonged to; a webhook that moves keeps its path now and then.

var oraclePatterns = []string{"*", "*", "*", "person.*,people.deleted", "team.created,team.deleted,member.*", "*.created"}

func (o *oracle) secret() string { return fmt.Sprintf("%-40s", o.next("secret"))[:32] + "0123456789" }

func (o *oracle) path() string { return "/" + o.next("hook") }

func (s *oracleSession) insertHook(row oracleRow) {
	s.exec(`INSERT INTO hooks VALUES ($1, $2, $3, $4, $5::text::boolean)`, row["id"], row["org"], s.o.hook.URL(row["url"]), row["secret"], row["active"])
	s.wishes(row)
	s.working["hooks"][row["id"]] = row
}

func (s *oracleSession) wishes(row oracleRow) {
	s.exec(`INSERT INTO hook_events (hook, pattern) SELECT $1, unnest($2::text[])`, row["id"], strings.Split(row["@patterns"], ","))
}

func (s *oracleSession) updateHook(row oracleRow) {
	s.exec(`UPDATE hooks SET org = $2, url = $3, secret = $4, active = $5::text::boolean WHERE id = $1`,
		row["id"], row["org"], s.o.hook.URL(row["url"]), row["secret"], row["active"])
	s.working["hooks"][row["id"]] = row
}

// addHook makes a webhook, under a key that another one had before it now and then.
func (s *oracleSession) addHook(choice int) {
	org, ok := s.org(choice)
	if !ok {
		return
	}
	key := s.o.next("h")
	if n := len(s.o.retired[s.n]); n > 0 && choice%2 == 0 {
		key = s.o.retired[s.n][choice/2%n]
		if s.o.state["hooks"][key] != nil || s.working["hooks"][key] != nil {
			return
		}
	}
	s.insertHook(oracleRow{"id": key, "org": org, "url": s.o.path(), "secret": s.o.secret(), "active": "true", "@patterns": oraclePatterns[choice%len(oraclePatterns)]})
}

func (s *oracleSession) redirectHook(choice int) {
	if _, row, ok := pick(s.working["hooks"], choice, nil); ok {
		s.updateHook(row.with("url", s.o.path()))
	}
}

// moveHook gives a webhook to another org.
func (s *oracleSession) moveHook(choice int) {
	_, row, ok := pick(s.working["hooks"], choice/4, nil)
	org, found := s.org(choice / 7)
	if !ok || !found {
		return
	}
	row = row.with("org", org)
	if choice%2 == 0 {
		row = row.with("url", s.o.path())
	}
	if choice/2%2 == 0 {
		row = row.with("secret", s.o.secret())
	}
	s.updateHook(row)
}

// replaceHook deletes a webhook and inserts another one under its key.
func (s *oracleSession) replaceHook(choice int) {
	key, row, ok := pick(s.working["hooks"], choice, nil)
	org, found := s.org(choice / 7)
	if ok && found {
		s.exec(`DELETE FROM hooks WHERE id = $1`, key)
		s.insertHook(row.with("org", org, "url", s.o.path()))
	}
}

func (s *oracleSession) toggleHook(choice int) {
	if _, row, ok := pick(s.working["hooks"], choice, nil); ok {
		s.updateHook(row.with("active", map[string]string{"true": "false", "false": "true"}[row["active"]]))
	}
}

func (s *oracleSession) deleteHook(choice int) {
	if key, _, ok := pick(s.working["hooks"], choice, nil); ok {
		s.exec(`DELETE FROM hooks WHERE id = $1`, key)
		delete(s.working["hooks"], key)
		if !slices.Contains(s.o.retired[s.n], key) {
			s.o.retired[s.n] = append(s.o.retired[s.n], key)
		}
	}
}

func (s *oracleSession) rewordHook(choice int) {
	if key, row, ok := pick(s.working["hooks"], choice, nil); ok {
		row = row.with("@patterns", oraclePatterns[choice%len(oraclePatterns)])
		s.exec(`DELETE FROM hook_events WHERE hook = $1`, key)
		s.wishes(row)
		s.working["hooks"][key] = row
	}
}
