package integration_test

import (
	"testing"
)

// roles makes roles whose events are of about so many bytes, and accounts for them.
func (w *world) createRoles(a *account, realm string, n, bytes int) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `INSERT INTO roles (id, realm_id, name, description)
		SELECT gen_random_uuid(), $1, 'role-' || gen_random_uuid(), repeat('x', $3) FROM generate_series(1, $2) RETURNING id::text`, realm, n, bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			w.t.Fatal(err)
		}
		if a != nil {
			a.add(expect("role.created", id, realm))
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
}

// Events that are larger than the relay sends are dead, and nothing else: they say nothing about the endpoint, which gets all
// others without a pause.
func TestFairness_OversizedEventsPauseNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := w.iam.CreateRealm(t.Context(), "other", "Other")
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.config().webhook(w.hook, "/healthy").set("delivery.max_payload", "4KiB").set("delivery.rest", "1h").set("delivery.rest_max", "1h"))
	var a account
	for i := range 2 {
		w.createRoles(nil, other.ID, 20, 5000)
		w.createUser(&a, i)
	}
	a.arrives(t, w.hook, "/healthy")
	w.until("the oversized ones are dead", `SELECT count(*) = 40 FROM relay.parked WHERE due = 'infinity' AND class = 'payload_too_large'`)
	w.until("the endpoint is not paused", `SELECT rests = 0 AND rest_until IS NULL AND failing_since IS NULL FROM relay.webhook`)
}
