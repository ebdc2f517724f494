package outbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// migrated returns a new outbox with a leader.
func migrated(t *testing.T) (context.Context, *Store, *Leader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	leader := newLeader(ctx, t)
	return ctx, leader.store, leader
}

// opened returns a store with the given encryption keys.
func opened(t *testing.T, url string, keys ...[]byte) *Store {
	t.Helper()
	store, err := Open(url, "iam_relay", keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func (s *Store) webhook(t *testing.T, id int64) Webhook {
	t.Helper()
	all, err := s.LoadWebhooks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(w Webhook) bool { return w.ID == id })
	if i < 0 {
		t.Fatalf("webhook %d is not there", id)
	}
	return all[i]
}

func TestAddWebhook_RoundTrip(t *testing.T) {
	t.Parallel()
	ctx, store, _ := migrated(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	w := Webhook{
		Tenant: "*", Name: "crm", Description: "d", URL: "https://crm.example.com/?k=1", Headers: map[string]string{"X-Key": "k"}, Events: []string{"user.*"},
		Enabled: true, Options: `{"rate":5}`, Credentials: `{"bearer":"b"}`, Exclusive: true,
	}
	w.SetSecrets(now, "first secret of the webhook", "second secret of the webhook")
	made := w
	if err := store.AddWebhook(ctx, &w); err != nil {
		t.Fatal(err)
	}
	got := store.webhook(t, w.ID)
	if diff := cmp.Diff(w, got); diff != "" {
		t.Errorf("(-returned +stored):\n%s", diff)
	}
	if w.ID != FirstRelayID || w.Key != "4294967296" || w.Origin != OriginRelay || got.Version == 0 || got.Created.IsZero() || got.Changed.Before(got.Created) {
		t.Errorf("stored as %+v", got)
	}
	if diff := cmp.Diff(made, got, cmpopts.IgnoreFields(Webhook{}, "ID", "Origin", "Key", "Version", "Created", "Changed"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-given +stored):\n%s", diff)
	}
	second := Webhook{Name: "crm", Tenant: "*", URL: "https://other.example.com"}
	if err := store.AddWebhook(ctx, &second); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a second webhook of that name: %v", err)
	}
	second.Name = "erp"
	if err := store.AddWebhook(ctx, &second); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ChangeWebhook(ctx, second.ID, func(w *Webhook) error { w.Name = "crm"; return nil }); !errors.Is(err, ErrNameTaken) {
		t.Errorf("renamed to the first one's name: %v", err)
	}
	if _, err := store.RemoveWebhook(ctx, w.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := store.RemoveWebhook(ctx, w.ID); !errors.Is(err, ErrWebhookGone) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := store.ChangeWebhook(ctx, second.ID, func(w *Webhook) error { w.Name = "crm"; return nil }); err != nil {
		t.Errorf("renamed to the removed one's name: %v", err)
	}
	if got := store.webhook(t, w.ID); got.RemovedAfter == nil || *got.RemovedAfter != 0 || !got.Enabled {
		t.Errorf("removed: %+v", got)
	}
}

func TestWebhookChanges_ReturnsEachChangeOnce(t *testing.T) {
	t.Parallel()
	ctx, store, leader := migrated(t)
	if err := leader.SaveWebhooks(ctx, []Webhook{{ID: 1, Origin: OriginConfig, Key: "c", Name: "c", Tenant: "*", Enabled: true}}); err != nil {
		t.Fatal(err)
	}
	var changes WebhookChanges
	changed := func(want ...string) {
		t.Helper()
		webhooks, err := store.ChangedWebhooks(ctx, &changes)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, w := range webhooks {
			names = append(names, w.Name)
		}
		if diff := cmp.Diff(want, names, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	changed()
	a, b := Webhook{Name: "a"}, Webhook{Name: "b"}
	if err := errors.Join(store.AddWebhook(ctx, &a), store.AddWebhook(ctx, &b)); err != nil {
		t.Fatal(err)
	}
	changed("a", "b")
	changed()
	if _, err := store.ChangeWebhook(ctx, 1, func(w *Webhook) error { w.Enabled, w.DisabledReason = false, ManualReason(""); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := store.RemoveWebhook(ctx, b.ID); err != nil {
		t.Fatal(err)
	}
	changed("c", "b")
	if err := leader.SaveWebhooks(ctx, []Webhook{{ID: 1, Origin: OriginConfig, Key: "c", Name: "c2", Tenant: "*", Enabled: true}}); err != nil {
		t.Fatal(err)
	}
	changed("c2")
}

// The leader may save a webhook before it has seen a change made by command.
func TestSaveWebhooks_KeepsChangesByCommand(t *testing.T) {
	t.Parallel()
	ctx, store, leader := migrated(t)
	save := func(w Webhook) Webhook {
		t.Helper()
		w.ID, w.Origin, w.Key, w.Tenant = 1, OriginIAM, "k", "t"
		if err := leader.SaveWebhooks(ctx, []Webhook{w}); err != nil {
			t.Fatal(err)
		}
		return store.webhook(t, 1)
	}
	manualChange := func(enabled bool, reason string) {
		t.Helper()
		if _, err := store.ChangeWebhook(ctx, 1, func(w *Webhook) error {
			w.Enabled, w.DisabledReason, w.URL = enabled, reason, "not ours to change"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(when string, w Webhook, url string, enabled bool, reason string) {
		t.Helper()
		if w.URL != url || w.Enabled != enabled || w.DisabledReason != reason {
			t.Errorf("%s: url %q, enabled %t, %q", when, w.URL, w.Enabled, w.DisabledReason)
		}
	}
	is("new", save(Webhook{URL: "1", Enabled: true}), "1", true, "")
	manualChange(false, ManualReason("pager"))
	is("disabled by command, definition unchanged", store.webhook(t, 1), "1", false, "manually: pager")
	is("leader has not seen it", save(Webhook{URL: "2", Enabled: true}), "2", false, "manually: pager")
	is("leader has seen it", save(Webhook{URL: "3", DisabledReason: "manually: pager"}), "3", false, "manually: pager")
	manualChange(true, "")
	is("leader has not seen it enabled", save(Webhook{URL: "4", DisabledReason: "manually: pager"}), "4", true, "")
	manualChange(false, ManualReason(""))
	is("disabled by its definition", save(Webhook{URL: "5"}), "5", false, "")
	is("enabled by its definition", save(Webhook{URL: "6", Enabled: true}), "6", true, "")
	manualChange(false, "the endpoint answered 410 Gone")
	gone := int64(7)
	is("removed by a leader that has not seen the 410", save(Webhook{URL: "7", Enabled: true, RemovedAfter: &gone}), "7", false, "the endpoint answered 410 Gone")

	made := Webhook{Name: "a", URL: "https://made.example", Enabled: true}
	if err := store.AddWebhook(ctx, &made); err != nil {
		t.Fatal(err)
	}
	stale := made
	stale.URL, stale.Enabled = "https://stale.example", false
	if err := leader.SaveWebhooks(ctx, []Webhook{stale}); err != nil {
		t.Fatal(err)
	}
	if got := store.webhook(t, made.ID); got.URL != made.URL || !got.Enabled {
		t.Errorf("a webhook of OriginRelay was overwritten: %+v", got)
	}
}

func TestChangeWebhook_EnablingResetsHealth(t *testing.T) {
	t.Parallel()
	ctx, store, _ := migrated(t)
	w := Webhook{Name: "a", Enabled: true}
	if err := store.AddWebhook(ctx, &w); err != nil {
		t.Fatal(err)
	}
	if _, err := store.pool.Exec(ctx, `UPDATE webhook SET enabled = false, disabled_reason = 'it failed for 120h', paused_until = now(), pauses = 3,
		failing_since = now(), failing_spans = 4, failed_at = now()`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ChangeWebhook(ctx, w.ID, func(w *Webhook) error { w.Description = "changed"; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := store.webhook(t, w.ID); got.Pauses != 3 || got.FailingSince.IsZero() {
		t.Errorf("a change of the description alone: %+v", got.Health)
	}
	if _, err := store.ChangeWebhook(ctx, w.ID, func(w *Webhook) error { w.Enabled, w.DisabledReason = true, ""; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := store.webhook(t, w.ID); !got.PausedUntil.IsZero() || got.Pauses != 0 || !got.FailingSince.IsZero() || got.FailingSpans != 0 || !got.FailedAt.IsZero() {
		t.Errorf("enabled: %+v", got.Health)
	}
}

func TestDropExpiredSecrets(t *testing.T) {
	t.Parallel()
	ctx, store, _ := migrated(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	rotated, fresh := Webhook{Name: "rotated"}, Webhook{Name: "fresh"}
	rotated.SetSecrets(now.Add(-3*time.Hour), "first")
	rotated.Rotate(now.Add(-2*time.Hour), time.Hour, "second")
	rotated.Rotate(now, time.Hour, "third")
	rotated.Secrets, rotated.SecretsExpire = append(rotated.Secrets, "ended"), append(rotated.SecretsExpire, now)
	rotated.SecretsCreated = append(rotated.SecretsCreated, time.Time{})
	fresh.SetSecrets(now, "only")
	if err := errors.Join(store.AddWebhook(ctx, &rotated), store.AddWebhook(ctx, &fresh)); err != nil {
		t.Fatal(err)
	}
	var changes WebhookChanges
	if _, err := store.ChangedWebhooks(ctx, &changes); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := store.DropExpiredSecrets(ctx); err != nil || n != want {
			t.Errorf("of %d webhooks, want %d (%v)", n, want, err)
		}
	}
	changed, err := store.ChangedWebhooks(ctx, &changes)
	if err != nil || len(changed) != 1 {
		t.Fatalf("changed: %v, %v", changed, err)
	}
	if diff := cmp.Diff([]string{"third", "second"}, changed[0].Secrets); diff != "" || !changed[0].NextExpiry(now).Equal(now.Add(time.Hour)) {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := store.webhook(t, fresh.ID); len(got.Secrets) != 1 {
		t.Errorf("the other one has %d", len(got.Secrets))
	}
}
