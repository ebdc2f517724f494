package integration_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

func checksum(text string) uint32 { return crc32.ChecksumIEEE([]byte(text)) }

// twinStatement is one statement, or what ends a transaction. Its seed decides what it leaves open.
type twinStatement struct {
	Kind int
	Seed uint64
}

// What a statement does that ends a transaction, or takes a part of it back.
const (
	twinNothing = iota
	twinCommit
	twinSavepoint
	twinRollback
	twinActs // the first of the others
)

var twinPlan = rapid.SliceOfN(rapid.Map(rapid.Uint64(), func(drawn uint64) twinStatement {
	if drawn == 0 {
		return twinStatement{}
	}
	random := rand.New(rand.NewPCG(drawn, 1))
	switch n := random.IntN(100); {
	case n < 12:
		return twinStatement{Kind: twinCommit}
	case n < 15:
		return twinStatement{Kind: twinSavepoint}
	case n < 17:
		return twinStatement{Kind: twinRollback}
	}
	return twinStatement{twinActs + random.IntN(len(twinActions)), random.Uint64()}
}), 200, 500)

// The same transactions, whatever their shape, make the same events in the same order, with the same bodies, ids, receivers and
// mirrors, however little of them a relay keeps in memory, and in another process too.
//
// IAM_RELAY_TEST_MODEL_STEPS asks for so many statements in all.
func TestModel_LargeAndSmallTransactionsAgree(t *testing.T) {
	t.Parallel()
	statements, limited := stepBudget(t, modelVariable, 5000)
	began, done, runs, failed := time.Now(), 0, 0, false
	rapid.Check(t, func(rt *rapid.T) {
		plan := twinPlan.Draw(rt, "statements")
		if !failed && (done >= statements || (limited && time.Since(began) > strength(20*time.Second, 20*time.Second, 8*time.Second))) {
			return
		}
		runs, done = runs+1, done+len(plan)
		defer func() { failed = failed || rt.Failed() }()
		r := run{t, rt}
		m := twinsModel{newTwins(r, temporaryDatabase(r, clustertest.Cluster(t), fmt.Sprint("twins_", worlds.Add(1)))), false, false}
		for _, s := range plan {
			m.step(s)
		}
		m.end("COMMIT")
		m.agree()
	})
	t.Logf("%d statements in %d runs", done, runs)
}

type twinsModel struct {
	*twins
	open, saved bool
}

func (m *twinsModel) step(s twinStatement) {
	if s.Kind != twinNothing && s.Kind != twinCommit && !m.open {
		m.exec("BEGIN")
		m.open, m.saved = true, false
	}
	switch s.Kind {
	case twinNothing:
	case twinCommit:
		m.end("COMMIT")
	case twinSavepoint:
		m.exec("SAVEPOINT s")
		m.saved = true
	case twinRollback:
		if m.saved {
			m.exec("ROLLBACK TO s")
		}
	default:
		random := twinRandom{rand.New(rand.NewPCG(s.Seed, 2)), m.hook}
		for _, sql := range twinActions[s.Kind-twinActs](random) {
			m.try(sql)
		}
	}
}

// try runs a statement, which takes itself back if it wants a key that is taken.
func (m *twinsModel) try(sql string) {
	m.exec("SAVEPOINT statement")
	_, err := m.conn.Exec(m.t.Context(), sql)
	if taken, ok := errors.AsType[*pgconn.PgError](err); ok && taken.Code == "23505" {
		m.exec("ROLLBACK TO statement")
	} else if err != nil {
		m.t.Fatalf("%s: %v", sql, err)
	}
	m.exec("RELEASE statement")
}

func (m *twinsModel) end(how string) {
	if m.open {
		m.exec(how)
		m.open = false
	}
}

// twinRandom chooses keys and values. There are few keys, so that they are used again and again; the empty string is one.
type twinRandom struct {
	*rand.Rand
	hook string
}

func (r twinRandom) one(of ...string) string { return of[r.IntN(len(of))] }

func (r twinRandom) key() string { return r.one("", "a", "b", "c", "d", "e", "f", "g", "h", `i\`) }

func (r twinRandom) org() string { return r.one("", "o1", "o2", "o3", "no") }

// text is often too large to be stored in its row.
func (r twinRandom) text() string {
	return fmt.Sprintf("repeat('%s', %d)", r.one("x", "y", "z"), []int{1, 1, 40, 3000, 9000}[r.IntN(5)])
}

var twinPlace = regexp.MustCompile(`\$[kotn]`)

// f puts values into a statement: $k a key, $o a tenant, $t a text, $n a small number.
func (r twinRandom) f(sql string) string {
	return twinPlace.ReplaceAllStringFunc(sql, func(place string) string {
		switch place {
		case "$k":
			return "'" + r.key() + "'"
		case "$o":
			return "'" + r.org() + "'"
		case "$t":
			return r.text()
		}
		return fmt.Sprint(r.IntN(4))
	})
}

// twinMoving are tables in which rows move.
var twinMoving = []string{"docs", "docs", "people", "people", "tags", "log", "orgs", "hooks", "seats"}

// move is an UPDATE of a key to one that is free.
func move(table, from, to string) string {
	return fmt.Sprintf(`UPDATE %[1]s SET id = %[3]s WHERE id = %[2]s AND NOT EXISTS (SELECT FROM %[1]s WHERE id = %[3]s)`, table, from, to)
}

// twinStatements are complete by themselves.
var twinStatements = []string{
	`INSERT INTO orgs VALUES ($o, 'n$n') ON CONFLICT DO NOTHING`,
	`UPDATE orgs SET name = 'n$n' WHERE id = $o`,
	`DELETE FROM orgs WHERE id = $o`,
	`INSERT INTO docs VALUES ($k, $o, $k, $n, $t) ON CONFLICT DO NOTHING`,
	`INSERT INTO docs VALUES ($k, $o, NULL, $n, $t), ($k, $o, $k, NULL, NULL) ON CONFLICT DO NOTHING`,
	`UPDATE docs SET n = $n WHERE id IN ($k, $k)`,
	`UPDATE docs SET n = $n`,
	`UPDATE docs SET big = $t WHERE id = $k`,
	`UPDATE docs SET parent = $k, org = $o WHERE id = $k`,
	`DELETE FROM docs WHERE id = $k`,
	`DELETE FROM docs WHERE org = $o`,
	`UPDATE docs SET id = id || 'm' WHERE length(id) < 4`,
	`UPDATE docs SET id = left(id, 1), n = $n WHERE length(id) > 1 AND NOT EXISTS (SELECT FROM docs o WHERE o.id = left(docs.id, 1))
		AND id IN (SELECT min(id) FROM docs GROUP BY left(id, 1))`,
	`INSERT INTO items VALUES ($k, 'p$n', 'n', $t), ($k, 'q$n', NULL, $t) ON CONFLICT DO NOTHING`,
	`UPDATE items SET note = 'n$n' WHERE doc = $k`,
	`UPDATE items SET doc = $k WHERE pos = 'p$n' AND (SELECT count(*) FROM items i WHERE i.pos = items.pos) = 1`,
	`DELETE FROM items WHERE doc = $k OR pos = 'p$n'`,
	`INSERT INTO tags VALUES ($k, $k, 'l$n'), ($k || '2', $k, 'l$n') ON CONFLICT DO NOTHING`,
	`UPDATE tags SET doc = $k WHERE doc = $k`,
	`DELETE FROM tags WHERE doc = $k OR label = 'l$n'`,
	`INSERT INTO people VALUES ($k, $o, $k, 'n$n', $t, false), ($k, $o, NULL, 'n$n', $t, $n = 0) ON CONFLICT DO NOTHING`,
	`UPDATE people SET name = 'n$n', boss = $k WHERE id = $k`,
	`UPDATE people SET gone = NOT gone WHERE id IN ($k, $k)`,
	`UPDATE people SET gone = $n = 0 WHERE boss = $k`,
	`DELETE FROM people WHERE id = $k OR boss = $k`,
	`UPDATE people SET id = id || 'y', boss = boss || 'y' WHERE length(id) < 3`,
	`INSERT INTO log SELECT $k || i, $o, repeat('l', 200) FROM generate_series(1, 20 + 100 * $n) i ON CONFLICT DO NOTHING`,
	`UPDATE log SET line = 'u$n' WHERE id LIKE $k || '1%'`,
	`DELETE FROM log WHERE id LIKE $k || '$n%'`,
	`UPDATE log SET id = 'l' || id WHERE id LIKE $k || '$n%' AND length(id) < 6`,
	`UPDATE hooks SET org = $o WHERE id = $k`,
	`DELETE FROM hooks WHERE id = $k`,
	`UPDATE hook_events SET hook = $k WHERE id = $k`,
	`DELETE FROM hook_events WHERE id = $k`,
	`INSERT INTO seats VALUES ($k, $o, 'l$n', $t), ($k, $o, NULL, $t) ON CONFLICT DO NOTHING`,
	`UPDATE seats SET label = 'l$n' WHERE id = $k`,
	`DELETE FROM seats WHERE id = $k`,
}

// twinActions are all that can happen, the statements one by one and what takes several.
var twinActions = slices.Concat(
	twinSingle(twinStatements...),
	[]func(r twinRandom) []string{
		twinCascade, twinCarry, twinCarry, twinSwap, twinSwap, twinAround, twinMove, twinMove, twinMove, twinReplace, twinAcross, twinTruncate, twinTruncate, twinHook, twinHookEvent,
	},
)

func twinSingle(statements ...string) (actions []func(r twinRandom) []string) {
	for _, sql := range statements {
		actions = append(actions, func(r twinRandom) []string { return []string{r.f(sql)} })
	}
	return actions
}

func twinHook(r twinRandom) []string {
	return []string{r.f(`INSERT INTO hooks VALUES ($k, $o, '` + r.hook + `/$n') ON CONFLICT DO NOTHING`)}
}

func twinHookEvent(r twinRandom) []string {
	return []string{r.f(`INSERT INTO hook_events VALUES ($k, $k, '` + r.one("*", "doc.*", "log.written", "tag.removed") + `') ON CONFLICT DO NOTHING`)}
}

func twinMove(r twinRandom) []string { return []string{r.f(move(r.one(twinMoving...), "$k", "$k"))} }

// twinCascade deletes a row with its children, before or after them.
func twinCascade(r twinRandom) []string {
	key := r.f("$k")
	all := []string{"DELETE FROM docs WHERE id = " + key, "DELETE FROM items WHERE doc = " + key, "DELETE FROM tags WHERE doc = " + key, "UPDATE docs SET parent = NULL WHERE parent = " + key}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// twinCarry moves a row with its children.
func twinCarry(r twinRandom) []string {
	from, to := r.f("$k"), r.f("$k")
	return []string{
		move("docs", from, to), fmt.Sprintf(`UPDATE tags SET doc = %s WHERE doc = %s`, to, from), fmt.Sprintf(`UPDATE docs SET parent = %s WHERE parent = %s`, to, from),
		fmt.Sprintf(`UPDATE items SET doc = %[1]s WHERE doc = %[2]s AND NOT EXISTS (SELECT FROM items i WHERE i.pos = items.pos AND i.doc = %[1]s)`, to, from),
	}
}

// twinSwap lets two rows, or three, change places.
func twinSwap(r twinRandom) []string {
	table, a, b, c := r.one(twinMoving...), r.f("$k"), r.f("$k"), r.f("$k")
	if r.IntN(2) == 0 {
		return []string{move(table, a, "'swapped'"), move(table, b, a), move(table, "'swapped'", b)}
	}
	return []string{move(table, a, "'swapped'"), move(table, b, a), move(table, c, b), move(table, "'swapped'", c)}
}

// twinAround moves a row away and back, perhaps with a change on the way.
func twinAround(r twinRandom) []string {
	key := r.f("$k")
	all := []string{move("docs", key, "'around'"), r.f("UPDATE docs SET n = $n WHERE id = 'around'"), move("docs", "'around'", key)}
	if r.IntN(3) == 0 {
		all[1] = r.f("UPDATE docs SET big = $t WHERE id = 'around'")
	}
	return all
}

// twinReplace deletes a row and makes another one under its key.
func twinReplace(r twinRandom) []string {
	key := r.f("$k")
	return []string{"DELETE FROM docs WHERE id = " + key, r.f("INSERT INTO docs VALUES (" + key + ", $o, $k, $n, $t)")}
}

// twinAcross moves a key from one table to another.
func twinAcross(r twinRandom) []string {
	key := r.f("$k")
	return []string{"DELETE FROM docs WHERE id = " + key, r.f("INSERT INTO people VALUES (" + key + ", $o, $k, 'n$n', $t, false) ON CONFLICT DO NOTHING"), r.f("INSERT INTO log VALUES (" + key + ", $o, 'l') ON CONFLICT DO NOTHING")}
}

func twinTruncate(r twinRandom) []string {
	tables := []string{"docs", "items", "tags", "people", "log", "seats", "hooks", "hook_events", "orgs"}
	r.Shuffle(len(tables), func(i, j int) { tables[i], tables[j] = tables[j], tables[i] })
	return []string{"TRUNCATE " + strings.Join(tables[:1+r.IntN(3)], ", ")}
}
