package outbox

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A change may become visible long after later ones, if its transaction stays open.
func TestWebhookChanges_LateCommit(t *testing.T) {
	t.Parallel()
	ctx, store, leader := migrated(t)
	const many = 500
	var webhooks []Webhook
	for id := range int64(many) {
		webhooks = append(webhooks, Webhook{ID: id + 1, Origin: OriginConfig, Key: fmt.Sprint(id), Tenant: "*", Enabled: true})
	}
	if err := leader.SaveWebhooks(ctx, webhooks); err != nil {
		t.Fatal(err)
	}
	var changes WebhookChanges
	seen := map[int64]int{}
	poll := func() {
		t.Helper()
		found, err := store.ChangedWebhooks(ctx, &changes)
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			seen[found[i].ID]++
		}
	}
	poll()
	conn, err := pgx.ConnectConfig(ctx, store.config.ConnConfig.Copy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const change = `UPDATE webhook SET enabled = false, version = nextval('webhook_version') WHERE id = $1`
	if _, err := tx.Exec(ctx, change, 1); err != nil {
		t.Fatal(err)
	}
	for id := int64(2); id <= many; id++ {
		if _, err := store.pool.Exec(ctx, change, id); err != nil {
			t.Fatal(err)
		}
		if id%100 == 0 {
			poll()
		}
	}
	if seen[1] != 0 {
		t.Fatal("a change was seen before it was committed")
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	poll()
	poll()
	for id := int64(1); id <= many; id++ {
		if seen[id] != 1 {
			t.Errorf("webhook %d was found %d times, want once", id, seen[id])
		}
	}
}
