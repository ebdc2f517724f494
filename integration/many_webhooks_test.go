package integration_test

import (
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// An IAM with 10,000 webhooks (2,000 in an ordinary run) is taken over at the first start, one in a hundred with more headers than a webhook
// may have: in bounded memory. One more webhook gets its events.
func TestWebhooks_ManyAtTheFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	webhooks := strength(10_000, 10_000, 2_000)
	w.exec(`INSERT INTO webhooks (id, realm_id, endpoint, name, headers, secret, created_at, updated_at)
		SELECT gen_random_uuid(), $1, 'https://192.0.2.1/' || n, 'w' || n,
			CASE WHEN n % 100 = 0 THEN (SELECT jsonb_object_agg('X-' || h, repeat('x', 950000)) FROM generate_series(1, 2) h) ELSE '{"X-A": "b"}' END, 'secret', now(), now()
		FROM generate_series(1, $2::int) n`, w.acme.ID, webhooks)
	w.exec(`INSERT INTO webhook_subscribers (id, name, webhook_id) SELECT gen_random_uuid(), 'role.created', id FROM webhooks`)
	_, secret, err := w.iam.CreateWebhook(t.Context(), w.acme.ID, ferriskey.Webhook{Endpoint: w.hook.URL("/one"), Name: "one", Events: []string{"user.created"}})
	if err != nil {
		t.Fatal(err)
	}
	w.hook.Expect("/one", secret)
	p := start(t, w.config())
	w.until("all are taken over", `SELECT count(*) = $1 FROM relay.webhook WHERE removed_after IS NULL AND length(headers::text) < 20000`, webhooks+1)
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/one")
	// One transaction concerns more of them than fit into memory together.
	w.exec(`UPDATE webhooks SET description = 'changed' WHERE id IN (SELECT id FROM webhooks WHERE length(headers::text) > 1000000 LIMIT 20)`)
	w.until("the change is taken over", `SELECT count(*) = 20 FROM relay.webhook WHERE description = 'changed'`)
	p.fits(300 << 10)
	p.stop()
	// What is taken over need not be read again.
	p = start(t, w.config())
	w.createUser(&a, 2)
	a.arrives(t, w.hook, "/one")
	p.fits(300 << 10)
}
