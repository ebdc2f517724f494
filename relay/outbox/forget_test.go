package outbox

import "testing"

// A disabled webhook has a cursor that no relay advances; it must not keep the removed webhook forever.
func TestForgetWebhooks_DisabledAndRemoved(t *testing.T) {
	t.Parallel()
	ctx, store, leader := migrated(t)
	if _, err := store.pool.Exec(ctx, `INSERT INTO webhook (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled, cursor, removed_after)
		VALUES (1, 'config', 'a', '*', '', '', '', '{}', '{}', '{}', false, 0, 0), (2, 'config', 'b', '*', '', '', '', '{}', '{}', '{}', true, 0, 0),
			(3, 'config', 'c', '*', '', '', '', '{}', '{}', '{}', true, NULL, NULL)`); err != nil {
		t.Fatal(err)
	}
	ids, err := leader.ForgetWebhooks(ctx)
	if err != nil || len(ids) != 1 || ids[0] != 1 {
		t.Fatalf("forgotten: %v, %v", ids, err)
	}
}
