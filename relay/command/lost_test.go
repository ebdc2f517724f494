package command_test

import "testing"

// A slot that is gone is begun anew as docs/operations.md says: what was committed meanwhile makes no events, and all that was
// in the outbox stays.
func TestLostSlot_BegunAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	receiver := freeAddress(t) // nobody listens, so all deliveries are parked
	w.configure(w.url, "[delivery]", "allow_http = true", `allow_networks = ["127.0.0.1/32"]`, `schedule = ["1h"]`,
		"[[webhook]]", `name = "crm"`, `url = "http://`+receiver+`"`, "unsigned = true")
	realm := func(name string) {
		w.exec(`INSERT INTO realms (id, name) VALUES (gen_random_uuid(), $1)`, name)
	}
	inEvents := `SELECT FROM ` + w.name + `.event WHERE convert_from(body, 'UTF8') LIKE '%"' || $1 || '"%'`
	relay := w.start()
	realm("before")
	w.eventually(`SELECT FROM ` + w.name + `.parked`)
	relay.stop()
	w.dropSlot()
	realm("meanwhile")
	if r := w.run("run"); r.code != 1 {
		t.Fatalf("exit code %d, stderr %q", r.code, r.err)
	}
	w.exec(`UPDATE ` + w.name + `.position SET state = 'new'`)
	w.start()
	realm("after")
	w.eventually(inEvents, "after")
	if w.exists(inEvents, "meanwhile") {
		t.Error("there is an event of what was committed while there was no slot")
	}
	if !w.exists(inEvents, "before") || !w.exists(`SELECT FROM `+w.name+`.parked WHERE event = 1`) {
		t.Error("what was in the outbox is gone")
	}
	w.exec(`UPDATE realms SET display_name = 'renamed' WHERE name = 'meanwhile'`) // the new copy knows it
	w.eventually(inEvents, "meanwhile")
}
