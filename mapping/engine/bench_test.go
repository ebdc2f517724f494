package engine

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

// BenchmarkMap measures everything that mapping does for a transaction of one change: fold, resolve, refs, observe, map.
func BenchmarkMap(b *testing.B) {
	w := &world{t: b, schema: mappingtest.DefaultSchema(b)}
	w.mirrorRow("realms id=@a1 name=acme")
	w.mirrorRow("clients id=@c1 realm_id=@a1 client_id=app name=app")
	w.mirrorRow("users id=@e1 realm_id=@a1 username=alice email=alice@example.com")
	w.mirrorRow("roles id=@d1 realm_id=@a1 client_id=@c1 name=admin permissions=1023")
	w.mirrorRow("user_role id=9 user_id=@e1 role_id=@d1")
	rows := &fetched{w: w, mirror: w.mirror, anything: true}
	for name, line := range map[string]string{
		"user.created":         "insert users id=@e2 realm_id=@a1 username=bob email=bob@example.com",
		"user.updated":         "update users id=@e1 lastname=Liddell",
		"login":                "update users id=@e1 failed_login_attempts=1",
		"user.role.assigned":   "insert user_role id=7 user_id=@e1 role_id=@d1",
		"user.role.unassigned": "delete user_role id=9",
		"client.updated":       "update clients id=@c1 name=app2",
	} {
		b.Run(name, func(b *testing.B) {
			change := w.changes([]string{line})[0]
			need := func(r Ref) { w.mapper.RefsOf(r.Table, w.mirror.Get(r.Table, r.Key), func(Ref) {}) }
			b.ReportAllocs()
			for b.Loop() {
				changes, err := Fold([]cdc.Change{change})
				if err != nil {
					b.Fatal(err)
				}
				c := &changes[0]
				Resolve(c, w.mirror.Get(c.Relation.Table, c.Key))
				w.mapper.Refs(c, need)
				tx := w.mapper.Begin(Commit{LSN: 1, Time: time.Unix(1, 0)}, rows)
				tx.Observe(changes)
				if err := tx.Map(changes, func(Event) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
