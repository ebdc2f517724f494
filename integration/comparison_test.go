package integration_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/keycloak"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// comparison is of what arrives with what an IAM's operations ought to give. Each event belongs to the operation during which
// its transaction committed, so the operations need not wait for the relay.
type comparison struct {
	*keycloakWorld
	began time.Time
	done  []doneOperation
}

type doneOperation struct {
	name   string
	end    string // WAL position after it
	tenant string
	wanted []keycloak.Event
	took   time.Duration

	received, missing, surplus []string
}

func (d *doneOperation) differs() bool { return len(d.missing)+len(d.surplus) > 0 }

// do does an operation and notes where it ends in the WAL.
func (c *comparison) do(o keycloak.Operation) {
	c.t.Helper()
	began := time.Now()
	if err := o.Do(c.t.Context()); err != nil {
		c.t.Fatalf("%s: %v", o.Name, err)
	}
	wanted, err := c.story.Wanted(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.done = append(c.done, doneOperation{
		name: o.Name, tenant: c.story.RealmID(o), wanted: wanted, took: time.Since(began),
		end: value[string](c.t, c.db, `SELECT pg_current_wal_insert_lsn()::text`),
	})
}

// judge waits until everything has been delivered, and fails for each difference that is not known, and for each known one
// that has gone.
func (c *comparison) judge(known []string) {
	c.t.Helper()
	driven := time.Since(c.began)
	c.until("everything is delivered", `SELECT lsn >= $1::text::pg_lsn AND delivered = last_event AND NOT EXISTS (SELECT FROM relay.delayed_event)
		FROM relay.position, relay.watermark`, c.done[len(c.done)-1].end)
	c.assign()
	for i := range c.done {
		d := &c.done[i]
		isKnown := slices.Contains(known, d.name)
		switch {
		case d.differs() && !isKnown:
			c.t.Errorf("%s: missing: %s; false: %s", d.name, count(d.missing), count(d.surplus))
		case !d.differs() && isKnown:
			c.t.Errorf("%s: there is no difference any more: take it from the list of the known ones", d.name)
		}
	}
	operations := c.story.Operations(false)
	for _, name := range known {
		if !slices.ContainsFunc(operations, func(o keycloak.Operation) bool { return o.Name == name }) {
			c.t.Errorf("the list of the known differences has %q, which is not an operation", name)
		}
	}
	c.t.Logf("%d operations in %s, delivered after %s\n%s", len(c.done), driven.Round(time.Second), time.Since(c.began).Round(time.Second), c.table())
}

// assign gives each delivery to its operation, and matches it with what was wanted.
func (c *comparison) assign() {
	c.t.Helper()
	ends := make([]string, len(c.done))
	for i := range c.done {
		ends[i] = c.done[i].end
	}
	rows, err := c.db.Query(c.t.Context(), c.inOutbox(`SELECT webhook_id, (SELECT count(*) FROM unnest($1::text[]) AS u(p) WHERE p::pg_lsn < lsn) FROM relay.event`), ends)
	if err != nil {
		c.t.Fatal(err)
	}
	operation := map[string]int{}
	var id string
	var index int
	if _, err := pgx.ForEachRow(rows, []any{&id, &index}, func() error { operation[id] = index; return nil }); err != nil {
		c.t.Fatal(err)
	}
	snapshot := c.hook.Snapshot()
	received := make([][]receiver.Delivery, len(c.done))
	for _, d := range arrived(&snapshot, "/all") {
		index, ok := operation[d.ID]
		if !ok || index == len(c.done) {
			c.t.Errorf("%s %s belongs to no operation", d.Event, d.Resource)
			continue
		}
		received[index] = append(received[index], d)
	}
	for i := range c.done {
		c.done[i].match(received[i])
	}
}

// match takes each delivery for one of the wanted events, if it is one: of that name, in the operation's tenant and, where that
// is wanted, of the resource.
func (d *doneOperation) match(deliveries []receiver.Delivery) {
	wanted := slices.Clone(d.wanted)
	for i := range deliveries {
		got := &deliveries[i]
		d.received = append(d.received, got.Event)
		found := slices.IndexFunc(wanted, func(e keycloak.Event) bool {
			return e.Name == got.Event && (e.Resource == "" || e.Resource == got.Resource) && got.Tenant == d.tenant
		})
		switch {
		case found >= 0:
			wanted = slices.Delete(wanted, found, found+1)
		case slices.ContainsFunc(wanted, func(e keycloak.Event) bool { return e.Name == got.Event }):
			d.surplus = append(d.surplus, fmt.Sprintf("%s of %s in tenant %s", got.Event, got.Resource, got.Tenant))
		default:
			d.surplus = append(d.surplus, got.Event)
		}
	}
	for _, e := range wanted {
		d.missing = append(d.missing, e.Name)
	}
}

// table is one row for each operation.
func (c *comparison) table() string {
	var b strings.Builder
	var wanted, received, missing, surplus int
	b.WriteString("| operation | expected | received | missing | false |\n|---|---|---|---|---|\n")
	for i := range c.done {
		d := &c.done[i]
		var names []string
		for _, e := range d.wanted {
			names = append(names, e.Name)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d.name, count(names), count(d.received), count(d.missing), count(d.surplus))
		wanted, received, missing, surplus = wanted+len(d.wanted), received+len(d.received), missing+len(d.missing), surplus+len(d.surplus)
	}
	fmt.Fprintf(&b, "| %d operations | %d | %d | %d | %d |\n", len(c.done), wanted, received, missing, surplus)
	return b.String()
}

// count lists names, those that occur several times with their number.
func count(names []string) string {
	times := map[string]int{}
	for _, name := range names {
		times[name]++
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(times)) {
		if n := times[name]; n > 1 {
			name = fmt.Sprintf("%s ×%d", name, n)
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ", ")
}
