package integration_test

import (
	"fmt"
	"maps"
	"slices"
)

// oracleGap is a stretch of history that is not in the WAL, or not wholly: what is left of it is found by reconciliation. Each of
// its rows has gone through some versions. The events that arrive must lead from the first to the last of them, and may leave
// out those between.
type oracleGap struct {
	first, last int  // commits
	deleted     bool // a person: of two, a comparison would make one event
	whole       bool // one transaction, which goes on
	silent      bool // what changes now need not be emitted
	rows        map[[2]string][]oracleVersion
}

// oracleVersion is a row as it was after a commit, nil for none. With silent, nobody needs to hear how it came about.
type oracleVersion struct {
	row    oracleRow
	commit int
	silent bool
}

// String leaves out what is long.
func (v oracleVersion) String() string {
	return fmt.Sprintf("commit %d (silent: %t): %s", v.commit, v.silent, spell(map[string]any{"row": fields(v.row)}))
}

func fields(row oracleRow) any {
	if row == nil {
		return nil
	}
	m := map[string]any{}
	for name, value := range row {
		m[name] = value
	}
	return m
}

// note adds what a commit did.
func (g *oracleGap) note(o *oracle, before, after oracleState, commit int) {
	for table, e := range oracleEntities {
		for _, key := range oracleKeys(before[table], after[table]) {
			old, row := before[table][key], after[table][key]
			if maps.Equal(old, row) && (old == nil) == (row == nil) {
				continue
			}
			at := [2]string{table, key}
			if g.rows[at] == nil {
				g.rows[at] = []oracleVersion{{row: old}}
			}
			for _, version := range g.rows[at] {
				if event := e.transition(table, version.row, row); event.name != "" && !slices.Contains(o.known[event], commit) {
					o.known[event] = append(o.known[event], commit)
				}
			}
			g.rows[at] = append(g.rows[at], oracleVersion{row, commit, g.silent})
		}
	}
}

// unexplained are the rows whose events do not lead from the first to the last version, for each line that heard all of the gap.
func (g *oracleGap) unexplained(o *oracle, most int) []string {
	var missing []string
	for _, line := range o.lines {
		if line.mustAfter >= g.first || line.mustTo < g.last || g.last == 0 {
			continue
		}
		for at, versions := range g.rows {
			if len(missing) >= most {
				return missing
			}
			seen := map[oracleEvent]int{}
			g.each(at[0], versions, func(e oracleEvent, commit int) {
				if n := o.deliveries.count(line, e) - g.elsewhere(o, line, e); n > 0 {
					seen[e] = n
				}
			})
			if !g.leads(line, at[0], versions, 0, seen) {
				missing = append(missing, fmt.Sprintf("%s %s: of its versions %.2000s, %v has arrived at %s", at[0], at[1], fmt.Sprint(versions), seen, line))
			}
		}
	}
	return missing
}

// elsewhere is how often commits outside of the gap have made the same event.
func (g *oracleGap) elsewhere(o *oracle, line *oracleLine, e oracleEvent) int {
	n := 0
	for _, commit := range o.known[e] {
		if _, must := line.hears(&e, commit); must && o.commits[commit-1].gap != g {
			n++
		}
	}
	return n
}

// each goes through all the ways from one version to a later one.
func (g *oracleGap) each(table string, versions []oracleVersion, do func(e oracleEvent, commit int)) {
	for i := range versions {
		for _, later := range versions[i+1:] {
			if e := oracleEntities[table].transition(table, versions[i].row, later.row); e.name != "" {
				do(e, later.commit)
			}
		}
	}
}

// leads reports whether what was seen is a way from a version to the last one. Seen is as it was when it returns.
func (g *oracleGap) leads(line *oracleLine, table string, versions []oracleVersion, from int, seen map[oracleEvent]int) bool {
	left := 0
	for _, n := range seen {
		left += n
	}
	if left == 0 && !slices.ContainsFunc(versions[from+1:], func(v oracleVersion) bool { return !v.silent }) {
		return true
	}
	for next := from + 1; next < len(versions); next++ {
		e := oracleEntities[table].transition(table, versions[from].row, versions[next].row)
		if may, _ := line.hears(&e, versions[next].commit); e.name == "" || !may {
			if g.leads(line, table, versions, next, seen) {
				return true
			}
			continue
		}
		if seen[e] == 0 {
			continue
		}
		seen[e]--
		ok := g.leads(line, table, versions, next, seen)
		seen[e]++
		if ok {
			return true
		}
	}
	return false
}

// lose runs what loses a part of the WAL, with everything well before and after. A relay may end while it lasts, if what it
// needs is not there, and is started again as its supervisor does.
func (o *oracle) lose(mayExit bool, during func(g *oracleGap)) {
	o.t.Helper()
	o.quiet()
	g := &oracleGap{first: len(o.commits) + 1, rows: map[[2]string][]oracleVersion{}}
	o.gap, o.mayExit = g, mayExit
	o.gaps = append(o.gaps, g)
	during(g)
	g.touch(o)
	g.last = len(o.commits)
	o.gap = nil
	o.settle()
	o.mayExit = false
}

// touch makes a row in each of the tables. Once that has arrived, the relay reads all of them again.
func (g *oracleGap) touch(o *oracle) {
	s := o.sessions[administrator]
	s.begin()
	org := o.anyOrg(g.first)
	person := oracleRow{"id": o.next("p"), "org": org, "name": o.next("name"), "level": "1"}
	s.insertPerson(person)
	team := s.insertTeam(org)
	s.insertMember(person["id"], team, org)
	s.commit()
}

// changes makes changes that reach the WAL, or not: changes of one row each, which events cannot distinguish from their net difference.
func (g *oracleGap) changes(o *oracle, choice, count int) {
	acts := []func(*oracleSession, int){
		(*oracleSession).createPerson, (*oracleSession).updatePerson, (*oracleSession).updatePerson, (*oracleSession).createTeam, (*oracleSession).updateTeam, (*oracleSession).addMember,
	}
	s := o.sessions[administrator]
	for i := range count {
		s.begin()
		acts[(choice+i*i)%len(acts)](s, choice/2+i*7)
		if !g.whole && (choice%3 > 0 || i == count-1) {
			s.commit()
		}
	}
	if choice%4 == 0 && !g.deleted {
		s.begin()
		if id, _, ok := s.alone(choice); ok {
			g.deleted = true
			s.exec(`DELETE FROM people WHERE id = $1`, id)
			s.working.remove("people", id)
		}
		if !g.whole {
			s.commit()
		}
	}
}
