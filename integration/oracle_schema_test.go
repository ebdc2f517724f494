package integration_test

import (
	"fmt"
	"strings"
)

// oracleMigrations are what the IAM's owner does to its schema. What leaves the WAL whole must be followed exactly; what does
// not is a gap.
var oracleMigrations = []oracleMigration{
	{"harmless", (*oracle).harmless},
	{"harmless", (*oracle).harmless},
	{"harmless", (*oracle).harmless},
	{"heir", (*oracle).heir},
	{"truncate", (*oracle).truncate},
	{"truncate", (*oracle).truncate},
	{"swap", (*oracle).swap},
	{"rewrite", (*oracle).rewrite},
	{"unpublish", (*oracle).unpublish},
	{"drop publication", (*oracle).dropPublication},
	{"drop slot", (*oracle).dropSlot},
	{"rename in a transaction", (*oracle).renameInTransaction},
	{"rename away", (*oracle).renameAway},
	{"move schema", (*oracle).moveSchema},
	{"rename column", (*oracle).renameColumn},
	{"drop column", (*oracle).dropColumn},
	{"optional table", (*oracle).optionalTable},
}

type oracleMigration struct {
	name string
	do   func(o *oracle, choice int)
}

func (o *oracle) migrate(choice int) {
	m := oracleMigrations[choice%len(oracleMigrations)]
	o.t.trace("%s", m.name)
	o.close()
	m.do(o, choice/len(oracleMigrations))
}

var oracleMapped = []string{"people", "teams", "members", "orgs", "hooks"}

// harmless changes nothing that the mapping knows.
func (o *oracle) harmless(choice int) {
	table := oracleMapped[choice%len(oracleMapped)]
	column := map[string]string{"people": "name", "teams": "name", "members": "since", "orgs": "title", "hooks": "url"}[table]
	n := o.next("")
	statements := []string{
		`GRANT SELECT (%[2]s) ON %[1]s TO PUBLIC`, `REVOKE SELECT (%[2]s) ON %[1]s FROM PUBLIC`, `GRANT SELECT ON %[1]s TO PUBLIC`,
		`ALTER TABLE %[1]s ALTER COLUMN %[2]s SET STATISTICS 50`, `ANALYZE %[1]s`, `VACUUM FULL %[1]s`, `CLUSTER %[1]s USING %[1]s_pkey`, `VACUUM %[1]s`,
		`ALTER TABLE %[1]s ADD COLUMN extra_%[3]s text`, `ALTER TABLE %[1]s ADD COLUMN extra_%[3]s integer NOT NULL DEFAULT 7`, `ALTER TABLE %[1]s ADD COLUMN extra_%[3]s text NOT NULL DEFAULT md5(random()::text)`,
		`CREATE INDEX extra_%[3]s ON %[1]s (%[2]s)`, `ALTER TABLE %[1]s ALTER COLUMN %[2]s TYPE varchar(2000)`, `ALTER TABLE %[1]s ALTER COLUMN %[2]s TYPE text`,
		`COMMENT ON TABLE %[1]s IS 'it'`, `ALTER TABLE %[1]s SET (fillfactor = 70)`, `REINDEX TABLE %[1]s`, `CREATE TABLE extra_%[3]s (LIKE %[1]s INCLUDING ALL)`,
		`ALTER TABLE %[1]s ALTER COLUMN %[2]s SET DEFAULT 'none'`, `ALTER TABLE %[1]s REPLICA IDENTITY FULL`, `ALTER TABLE %[1]s REPLICA IDENTITY DEFAULT`,
	}
	// Sometimes beside a transaction that has written and is not ready.
	s := o.sessions[choice/2%oracleSessions]
	if choice/5%3 == 0 && table != "people" && table != "orgs" {
		s.begin()
		s.createPerson(choice)
	}
	statement := fmt.Sprintf(statements[choice/7%len(statements)], table, column, n)
	if s.open && strings.Contains(statement, "INDEX") {
		s.commit()
	}
	o.exec(statement)
}

// heir makes a table that inherits from a mapped one, with rows of its own, which are not the mapped table's.
func (o *oracle) heir(choice int) {
	n := o.next("")
	table := []string{"people", "teams", "members"}[choice%3]
	key := []string{"", ", PRIMARY KEY (id)"}[choice/3%2]
	if table == "members" {
		key = ""
	}
	o.exec(fmt.Sprintf(`CREATE TABLE heir_%s (born text%s) INHERITS (%s)`, n, key, table))
	switch table {
	case "people":
		o.exec(`INSERT INTO heir_` + n + ` (id, org, name, level) VALUES ('heir-` + n + `', 'nowhere', 'heir', 1)`)
	case "teams":
		o.exec(`INSERT INTO heir_` + n + ` (id, org, name) VALUES ('heir-` + n + `', 'nowhere', 'heir')`)
	default:
		o.exec(`INSERT INTO heir_` + n + ` (person, team, since) VALUES ('heir-` + n + `', 'nowhere', 'heir')`)
	}
	if choice/6%2 == 0 {
		o.exec(`DROP TABLE heir_` + n)
	}
}

// truncate empties tables among other changes.
func (o *oracle) truncate(choice int) {
	s := o.sessions[administrator]
	acts := func(n int) {
		for i := range n {
			s.act((choice+i*i*3)%len(oracleActs) + choice/3*len(oracleActs))
		}
	}
	acts(choice % 4)
	s.begin()
	switch tables := choice / 4 % 4; {
	case tables == 0 && o.badges:
		s.exec(`TRUNCATE badges`)
		clear(s.working["badges"])
	case tables == 1 && o.badges:
		s.exec(`TRUNCATE people, members, badges`)
		clear(s.working["badges"])
		clear(s.working["members"])
		clear(s.working["people"])
	case tables == 2:
		s.exec(`TRUNCATE teams, members`)
		clear(s.working["members"])
		clear(s.working["teams"])
	default:
		s.exec(`TRUNCATE members`)
		clear(s.working["members"])
	}
	acts(choice / 16 % 5)
	s.commit()
}

// The tables whose identity is played with. Others refer to them by their OID, which stays.
var oracleMoved = []string{"people", "teams", "members"}

// renameInTransaction changes rows while the table has another name, which nobody else sees.
func (o *oracle) renameInTransaction(choice int) {
	table := oracleMoved[choice%len(oracleMoved)]
	o.lose(true, func(g *oracleGap) {
		s := o.sessions[administrator]
		s.begin()
		g.whole = true
		s.exec(`ALTER TABLE ` + table + ` RENAME TO other_name`)
		o.alias[table] = "other_name"
		g.changes(o, choice/3, 1+choice%5)
		delete(o.alias, table)
		s.exec(`ALTER TABLE other_name RENAME TO ` + table)
		g.whole = false
		s.commit()
	})
}

// renameAway gives a table another name for a while, as the first half of a migration does.
func (o *oracle) renameAway(choice int) {
	table := oracleMoved[choice%len(oracleMoved)]
	o.away(choice/3, table, "other_name", `ALTER TABLE `+table+` RENAME TO other_name`, `ALTER TABLE other_name RENAME TO `+table)
}

// moveSchema does the same with the schema.
func (o *oracle) moveSchema(choice int) {
	table := oracleMoved[choice%len(oracleMoved)]
	o.exec(`CREATE SCHEMA IF NOT EXISTS elsewhere`)
	o.away(choice/3, table, "elsewhere."+table, `ALTER TABLE `+table+` SET SCHEMA elsewhere`, `ALTER TABLE elsewhere.`+table+` SET SCHEMA public`)
}

// away takes something away while rows change, with a relay that runs or one that comes back meanwhile or afterwards, and
// brings it back.
func (o *oracle) away(choice int, table, alias, take, bring string) {
	o.lose(true, func(g *oracleGap) {
		if choice/3%3 == 1 {
			o.stopAll()
		}
		g.changes(o, choice, choice%3)
		o.exec(take)
		o.alias[table] = alias
		g.changes(o, choice/5, 1+choice%5)
		if choice/3%3 == 1 && choice%2 == 0 {
			o.launch(0)
			o.someArrivals(0)
		}
		o.exec(bring)
		delete(o.alias, table)
		g.changes(o, choice/7, choice%3)
	})
}

// swap replaces a table by a copy of it with a row more.
func (o *oracle) swap(choice int) {
	o.lose(true, func(g *oracleGap) {
		s := o.sessions[administrator]
		g.changes(o, choice, choice%3)
		s.begin()
		s.exec(`CREATE TABLE members_copy (LIKE members INCLUDING ALL)`)
		s.exec(`INSERT INTO members_copy SELECT * FROM members`)
		s.exec(`DROP TABLE members CASCADE`)
		s.exec(`ALTER TABLE members_copy RENAME TO members`)
		s.exec(`ALTER INDEX members_copy_pkey RENAME TO members_pkey`)
		s.exec(`ALTER TABLE members ADD FOREIGN KEY (person) REFERENCES people ON DELETE CASCADE, ADD FOREIGN KEY (team) REFERENCES teams ON DELETE CASCADE`)
		s.addMember(choice)
		s.commit()
		g.changes(o, choice/3, 1+choice%4)
	})
}

// rewrite gives all rows of a table other values, which is not in the WAL.
func (o *oracle) rewrite(choice int) {
	o.lose(false, func(g *oracleGap) {
		g.changes(o, choice, choice%3)
		stamp := o.next("rewritten")
		s := o.sessions[administrator]
		s.begin()
		s.exec(`ALTER TABLE teams ALTER COLUMN name TYPE text USING id || '` + stamp + `'`)
		for id, row := range s.working["teams"] {
			s.working["teams"][id] = row.with("name", id+stamp)
		}
		s.commit()
		g.changes(o, choice/3, 1+choice%4)
	})
}

// renameColumn takes an optional column away for a while, during which it is written under another name.
func (o *oracle) renameColumn(choice int) {
	o.lose(false, func(g *oracleGap) {
		s := o.sessions[administrator]
		o.withoutNotes(g, `ALTER TABLE people RENAME COLUMN note TO remark`, func() {
			g.changes(o, choice, choice%4)
		})
		// What was in the column, and what was written to it meanwhile, is there again.
		s.begin()
		s.exec(`UPDATE people SET remark = $1 WHERE id = (SELECT min(id) FROM ONLY people)`, o.next("note"))
		if choice%2 == 0 {
			s.commit()
			s.begin()
		}
		s.exec(`ALTER TABLE people RENAME COLUMN remark TO note`)
		s.readNotes()
		s.commit()
		o.noteless = false
		g.changes(o, choice/3, choice%3)
	})
}

// dropColumn drops the optional column and adds it again.
func (o *oracle) dropColumn(choice int) {
	o.lose(false, func(g *oracleGap) {
		s := o.sessions[administrator]
		o.withoutNotes(g, `ALTER TABLE people DROP COLUMN note`, func() {
			g.changes(o, choice, choice%4)
		})
		s.begin()
		s.exec(`ALTER TABLE people ADD COLUMN note text`)
		s.commit()
		o.noteless = false
		g.changes(o, choice/3, choice%3)
	})
}

// withoutNotes does something while there is no column of notes. That a value is gone because its column is, nobody needs to
// be emitted.
func (o *oracle) withoutNotes(g *oracleGap, statement string, do func()) {
	s := o.sessions[administrator]
	s.begin()
	s.exec(statement)
	for id, row := range s.working["people"] {
		if row["note"] != "" {
			s.working["people"][id] = row.with("note", "")
		}
	}
	g.silent = true
	s.commit()
	g.silent, o.noteless = false, true
	do()
}

// readNotes takes the notes from the table.
func (s *oracleSession) readNotes() {
	rows, err := s.conn.Query(s.o.t.Context(), `SELECT id, note FROM ONLY people WHERE note IS NOT NULL`)
	if err != nil {
		s.o.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, note string
		if err := rows.Scan(&id, &note); err != nil {
			s.o.t.Fatal(err)
		}
		s.working["people"][id] = s.working["people"][id].with("note", note)
	}
	if err := rows.Err(); err != nil {
		s.o.t.Fatal(err)
	}
}

// optionalTable makes the optional table, where it is not there yet. What is in it before the relay has noticed may be emitted,
// or be taken for what was there before.
func (o *oracle) optionalTable(choice int) {
	if o.badges {
		return
	}
	o.lose(false, func(g *oracleGap) {
		o.exec(oracleBadges)
		o.badges = true
		s := o.sessions[administrator]
		g.silent = true
		for i := range choice % 4 {
			s.begin()
			s.giveBadge(choice + i)
			s.commit()
		}
		g.silent = false
		if choice/4%2 == 0 { // a relay that comes later
			o.stopAll()
			o.launch(0)
		}
		o.hears(g, func() { s.begin(); s.giveBadge(choice); s.commit() }, "badge.given")
	})
}

// hears repeats a change that need not be emitted, until an event says that changes of its kind are noticed.
func (o *oracle) hears(g *oracleGap, change func(), name string) {
	o.t.Helper()
	o.healthy()
	if len(o.state["people"]) == 0 {
		return
	}
	from := len(o.commits)
	g.silent = true
	defer func() { g.silent = false }()
	eventually(o.t, name+" is noticed", func() (bool, error) {
		change()
		o.someArrivals(0)
		o.take()
		for _, a := range o.deliveries.arrivals {
			if commits := o.known[a.event]; a.event.name == name && len(commits) > 0 && commits[len(commits)-1] > from {
				return true, nil
			}
		}
		return false, nil
	})
}

// unpublish takes a table out of the relay's publication while rows change.
func (o *oracle) unpublish(choice int) {
	table := oracleMapped[choice%3]
	o.lose(true, func(g *oracleGap) {
		g.changes(o, choice, choice%3)
		o.exec(`ALTER PUBLICATION ` + o.name + ` DROP TABLE ` + table)
		g.changes(o, choice/3, 1+choice%5)
		if choice%2 == 0 {
			// The relay may have added it by now.
			_, _ = o.db.Exec(o.t.Context(), `ALTER PUBLICATION `+o.name+` ADD TABLE ONLY `+table)
			g.changes(o, choice/5, choice%3)
		}
	})
}

func (o *oracle) dropPublication(choice int) {
	o.lose(true, func(g *oracleGap) {
		g.changes(o, choice, choice%3)
		o.exec(`DROP PUBLICATION ` + o.name)
		g.changes(o, choice/3, 1+choice%5)
	})
}

// dropSlot drops the replication slot, from under a relay that reads it or while none does.
func (o *oracle) dropSlot(choice int) {
	o.lose(true, func(g *oracleGap) {
		if choice%2 == 0 {
			o.stopAll()
		}
		g.changes(o, choice, choice%3)
		eventually(o.t, "the slot is dropped", func() (bool, error) {
			if _, err := o.db.Exec(o.t.Context(), `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, o.name); err != nil {
				return false, err
			}
			_, err := o.db.Exec(o.t.Context(), dropSlot, o.name)
			return err == nil, err
		})
		g.changes(o, choice/3, 1+choice%5)
		if choice%2 == 0 {
			o.launch(0)
		}
	})
}

func (o *oracle) stopAll() {
	for which := range o.relays {
		o.stop(which)
	}
}
