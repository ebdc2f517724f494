package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

// events maps the lines as one commit.
func (w *world) events(lines []string, rows Rows) []Event {
	w.t.Helper()
	changes := w.resolve(w.changes(lines))
	tx := w.mapper.Begin(Commit{LSN: 1, Time: time.Unix(0, 0)}, rows)
	tx.Observe(changes)
	if tx.Grouping() {
		if err := tx.Group(changes); err != nil {
			w.t.Fatal(err)
		}
	}
	var events []Event
	if err := tx.Map(changes, func(e Event) error { events = append(events, e); return nil }); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(events, func(a, b Event) int { return a.Index - b.Index })
	return events
}

func (w *world) anything() *fetched {
	w.start()
	return &fetched{w: w, mirror: w.mirror, anything: true}
}

// An event whose body would exceed the limit is emitted without a body. The renderer stops soon after the limit, whatever makes
// the body large, and other events are not affected.
func TestMaxBody_EventWithoutBody(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 6000)
	tests := map[string]struct {
		mirror []string
		line   string
	}{
		"a value":           {nil, "insert users id=@e1 realm_id=@a1 username=" + big},
		"an escaped value":  {nil, "insert users id=@e1 realm_id=@a1 username=" + strings.Repeat(`\`, 3500)},
		"an included row":   {[]string{"realms id=@a2 name=other display_name=" + big}, "insert users id=@e1 realm_id=@a2 username=one"},
		"a deleted row":     {[]string{"users id=@e1 realm_id=@a1 username=" + big}, "delete users id=@e1"},
		"a collected child": {[]string{"clients id=@c1 realm_id=@a1 name=app maintenance_enabled=f", "redirect_uris id=@d1 client_id=@c1 value=" + big}, "update clients id=@c1 maintenance_enabled=t"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
			w.mirrorRow("realms id=@a1 name=acme")
			for _, row := range test.mirror {
				w.mirrorRow(row)
			}
			lines := []string{test.line, "insert users id=@ee realm_id=@a1 username=small"}
			want := w.events(lines, w.anything())
			w.mapper.SetMaxBody(4096)
			got := w.events(lines, w.anything())
			if len(want[0].Body) <= 4096 {
				t.Fatal("the body does not exceed the limit")
			}
			if want[0].Body = nil; len(want) < 2 {
				t.Fatalf("got %d events, want 2 or more", len(want))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events (-without a limit +with one):\n%s", diff)
			}
			if n := cap(w.mapper.body) + cap(w.mapper.item); n > 6*4096 {
				t.Errorf("the renderer used %d bytes", n)
			}
		})
	}
}

// A body of exactly the limit is allowed.
func TestMaxBody_Limit(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("realms id=@a1 name=acme")
	lines := []string{"insert users id=@e1 realm_id=@a1 username=one"}
	want := w.events(lines, w.anything())
	for limit, allowed := range map[int]bool{len(want[0].Body): true, len(want[0].Body) - 1: false} {
		w.mapper.SetMaxBody(limit)
		if got := w.events(lines, w.anything()); (got[0].Body != nil) != allowed {
			t.Errorf("a limit of %d bytes gives a body of %d", limit, len(got[0].Body))
		}
	}
}

// partial omits children.
type partial struct{ *fetched }

func (p partial) Children(*cdc.Table, int, cdc.Key) []cdc.Row { return nil }

func (p partial) ChildrenOmitted() bool { return true }

// An event must not be sent with an empty list if its children were omitted to limit memory.
func TestMaxBody_ChildrenOmitted(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("realms id=@a1 name=acme")
	w.mirrorRow("clients id=@c1 realm_id=@a1 name=app maintenance_enabled=f")
	got := w.events([]string{"update clients id=@c1 maintenance_enabled=t"}, partial{w.anything()})
	if len(got) == 0 || got[0].Body != nil {
		t.Errorf("%d events, want the first without a body", len(got))
	}
}

// Grouped events stay below the default limit of a delivery, for any number of rows and tenants, and every row is in exactly one
// event.
func TestGroup_SplitsByBytes(t *testing.T) {
	t.Parallel()
	const perRealm, realms = 7000, 3
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	var lines []string
	var want []string
	for realm := range realms {
		w.mirrorRow(fmt.Sprintf("realms id=@a%d name=acme%d", realm, realm))
		for i := range perRealm {
			id := fmt.Sprintf("0198c0de-0000-7000-%04d-%012d", realm, i)
			w.mirrorRow(fmt.Sprintf("users id=%s realm_id=@a%d username=u", id, realm))
			lines = append(lines, "delete users id="+id)
			want = append(want, id)
		}
	}
	var got []string
	events := w.events(lines, w.anything())
	for _, e := range events {
		if e.Name != "user.bulk_deleted" || len(e.Body) > 256<<10 {
			t.Errorf("%s has %d bytes", e.Name, len(e.Body))
		}
		var body struct{ Data []string }
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		got = append(got, body.Data...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(events) != 2*realms || !slices.Equal(got, want) {
		t.Errorf("%d events name %d rows, want %d of %d", len(events), len(got), 2*realms, len(want))
	}
}
