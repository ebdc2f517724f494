package outbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// long returns an incompressible text, because PostgreSQL may compress index rows.
func long(seed uint64, n int) string {
	random := rand.New(rand.NewPCG(seed, 0))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte('!' + random.IntN(90))
	}
	return string(text)
}

// The Go and SQL functions agree, and no two texts collide.
func TestIndexed_AgreesWithSQL(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat(rapid.SampledFrom([]string{"a", "ü", "🙂", "é"}).Draw(t, "letter"), rapid.IntRange(0, maxIndexed+2).Draw(t, "length"))
		var stored string
		if err := s.store.pool.QueryRow(s.Context(), `SELECT indexed($1)`, text).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		got := indexed(text)
		if got != stored {
			t.Fatalf("%d bytes stand as %q here and as %q in the store", len(text), got, stored)
		}
		if got != text && len(got) <= maxIndexed {
			t.Fatalf("%d bytes stand as %q, which may be another text", len(text), got)
		}
	})
}

// Mirrored rows with keys of any length can be found, listed, replaced, compared and deleted, and be children of each other.
func TestIndexed_MirrorKeysOfAnyLength(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	parents := map[*cdc.Table]int{users: 2}
	keys := []cdc.Key{"", "short", cdc.Key(long(1, maxIndexed)), cdc.Key(long(2, maxIndexed+1)), cdc.Key(long(3, 2690)), cdc.Key(long(4, 100_000)), cdc.Key(indexed(long(4, 100_000)))}
	row := func(i int, name string) cdc.Row {
		return cdc.Row{cdc.TextValue(string(keys[i])), cdc.TextValue(name), cdc.TextValue(string(keys[i]))}
	}
	for _, name := range []string{"first", "second"} {
		chunk := &Chunk{}
		for i := range keys {
			chunk.upsert(users, keys[i], row(i, name), parents, nil)
		}
		s.must(s.leader.Commit(t.Context(), chunk, 10, 0))
	}
	m := s.leader.NewMirror(parents)
	m.Begin(t.Context())
	for _, key := range keys {
		m.Want(mapping.Ref{Table: users, Key: key})
		m.Want(mapping.Ref{Table: users, Key: key, By: 2})
	}
	s.must(m.Load(func(*cdc.Table, cdc.Row) {}))
	rows, listed := map[cdc.Key]cdc.Row{}, map[cdc.Key]bool{}
	for i, key := range keys {
		rows[key], listed[key] = row(i, "second"), true
		if diff := cmp.Diff(rows[key], m.Row(users, key)); diff != "" {
			t.Errorf("the row of key %d (-want +got):\n%s", i, diff)
		}
		if diff := cmp.Diff([]cdc.Row{rows[key]}, m.Children(users, 2, key)); diff != "" {
			t.Errorf("the children of key %d (-want +got):\n%s", i, diff)
		}
	}
	gotRows, gotKeys, gone := map[cdc.Key]cdc.Row{}, map[cdc.Key]bool{}, map[cdc.Key]bool{}
	s.must(m.EachRow(t.Context(), users, func(key cdc.Key, row cdc.Row) error { gotRows[key] = row; return nil }))
	s.must(m.EachKey(t.Context(), users, func(key cdc.Key) error { gotKeys[key] = true; return nil }))
	if diff := cmp.Diff(rows, gotRows) + cmp.Diff(listed, gotKeys); diff != "" {
		t.Errorf("the rows and keys (-want +got):\n%s", diff)
	}
	large, err := s.leader.Begin(t.Context(), m)
	s.must(err)
	s.must(large.AddSnapshotKeys(t.Context(), keys[:5]))
	s.must(large.EachDeleted(t.Context(), users, func(key cdc.Key, _ cdc.Row) error { gone[key] = true; return nil }))
	s.must(large.End(m))
	if diff := cmp.Diff(map[cdc.Key]bool{keys[5]: true, keys[6]: true}, gone); diff != "" {
		t.Errorf("the rows that are gone (-want +got):\n%s", diff)
	}
	chunk := &Chunk{}
	for _, key := range keys {
		chunk.Delete(users, key)
	}
	s.must(s.leader.Commit(t.Context(), chunk, 20, 0))
	s.must(m.EachKey(t.Context(), users, func(key cdc.Key) error { return fmt.Errorf("key %.20q is still there", key) }))
}

// A webhook's key and the resource of an order key may have any length, in retries as in replays.
func TestIndexed_OrderKeysOfAnyLength(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	hooks := []Webhook{
		{ID: 7, Origin: OriginIAM, Key: long(1, 100_000), Tenant: "t", Events: []string{"*"}, Enabled: true, Options: `{"ordering":"resource"}`},
		{ID: 8, Origin: OriginIAM, Key: long(2, 2690), Tenant: "t", Events: []string{"*"}, Enabled: true},
	}
	s.must(s.leader.SaveWebhooks(t.Context(), hooks))
	resource := long(3, 100_000)
	s.log(Event{Tenant: "t", Resource: resource, Webhooks: []int64{7}}, Event{Tenant: "t", Resource: resource, Webhooks: []int64{7}})
	d := Delivery{Delivered: s.last}
	for event := int64(1); event <= 2; event++ {
		d.Retries = append(d.Retries, Retry{Event: event, Webhook: 7, Attempts: 1, Due: time.Now().Add(-time.Minute), Key: ResourceKey(resource)})
	}
	_, err := s.member.Record(t.Context(), s.leader.Epoch(), &d)
	s.must(err)
	due, err := s.member.ClaimDue(t.Context(), Claim{Leads: true, Limit: 10, PerWebhook: 10, Bytes: 1 << 20, Except: []int64{}})
	s.must(err)
	if len(due) != 1 || due[0].ID != 1 || due[0].Resource != resource || due[0].Key != ResourceKey(resource) {
		t.Fatalf("%d deliveries are due at once, want the first alone", len(due))
	}
	s.exec(`DELETE FROM retry`)
	s.replay(Replay{Webhook: 7})
	s.advance()
	var keys []string
	s.must(s.store.pool.QueryRow(t.Context(), `SELECT array_agg(order_key) FROM retry`).Scan(&keys))
	want := "replay:" + indexed(resource)
	if diff := cmp.Diff([]string{want, want}, keys); diff != "" {
		t.Errorf("the keys of the replayed deliveries (-want +got):\n%s", diff)
	}
}
