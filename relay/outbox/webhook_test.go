package outbox

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The id of a deleted webhook may still be in events, so it must not be assigned again: the newest webhook stays.
func TestForgetWebhooks_KeepsTheNewestID(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	leader := newLeader(ctx, t)
	removed := int64(0)
	if err := leader.SaveWebhooks(ctx, []Webhook{
		{ID: 1, Origin: OriginIAM, Key: "a", RemovedAfter: &removed}, {ID: 2, Origin: OriginIAM, Key: "b", RemovedAfter: &removed},
	}); err != nil {
		t.Fatal(err)
	}
	// Webhooks of OriginRelay are numbered by a sequence, which never repeats.
	made, ended := Webhook{Name: "made", Enabled: true}, Webhook{Name: "ended"}
	if err := errors.Join(leader.store.AddWebhook(ctx, &made), leader.store.AddWebhook(ctx, &ended)); err != nil {
		t.Fatal(err)
	}
	if _, err := leader.store.RemoveWebhook(ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	if forgotten, err := leader.ForgetWebhooks(ctx); err != nil || len(forgotten) != 2 || forgotten[0]+forgotten[1] != 1+ended.ID {
		t.Fatalf("forgotten are %v (%v), want 1 and %d", forgotten, err, ended.ID)
	}
	if err := leader.SaveWebhooks(ctx, []Webhook{{ID: 1, Origin: OriginIAM, Key: "a", RemovedAfter: &removed}}); err != nil {
		t.Fatal(err)
	}
	forgotten, err := leader.ForgetWebhooks(ctx)
	if err != nil || len(forgotten) != 1 || forgotten[0] != 1 {
		t.Fatalf("forgotten are %v (%v), want 1", forgotten, err)
	}
	if err := leader.SaveWebhooks(ctx, []Webhook{{ID: 3, Origin: OriginIAM, Key: "c"}}); err != nil {
		t.Fatal(err)
	}
	if forgotten, err = leader.ForgetWebhooks(ctx); err != nil || len(forgotten) != 1 || forgotten[0] != 2 {
		t.Errorf("forgotten are %v (%v), want 2", forgotten, err)
	}
}
