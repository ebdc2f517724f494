package outbox

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A change may become visible long after those that were numbered later: while its transaction was open, many others were made
// and committed.
func TestWebhookChanges_OneThatIsCommittedLate(t *testing.T) {
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
	looked := map[int64]int{}
	look := func() {
		t.Helper()
		found, err := store.ChangedWebhooks(ctx, &changes)
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			looked[found[i].ID]++
		}
	}
	look()
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
			look()
		}
	}
	if looked[1] != 0 {
		t.Fatal("a change was seen before it was committed")
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	look()
	look()
	for id := int64(1); id <= many; id++ {
		if looked[id] != 1 {
			t.Errorf("webhook %d was found %d times, want once", id, looked[id])
		}
	}
}
