package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// findDefinition returns a webhook with its whole definition. A removed one is found only if no other has the name.
func (s *session) findDefinition(ctx context.Context, which string) (*outbox.Webhook, error) {
	all, err := s.store.LoadWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	found := matching(all, which)
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no webhook %q; iam-relay webhooks lists them", which)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, w := range found {
		ids[i] = address(w)
	}
	return nil, &usageError{fmt.Sprintf("%q may be %s; give one of these", which, strings.Join(ids, " or "))}
}

// matching returns the webhooks that the argument may name. An origin:key or an id takes precedence over names, which tenants
// of the IAM choose.
func matching(all []outbox.Webhook, which string) []*outbox.Webhook {
	for _, removed := range []bool{false, true} {
		for _, form := range []func(*outbox.Webhook) string{address, func(w *outbox.Webhook) string { return strconv.FormatInt(w.ID, 10) }, nameOf} {
			var found []*outbox.Webhook
			for i := range all {
				if w := &all[i]; (w.RemovedAfter != nil) == removed && which == form(w) {
					found = append(found, w)
				}
			}
			if found != nil {
				return found
			}
		}
	}
	return nil
}

// address names a webhook unambiguously.
func address(w *outbox.Webhook) string { return w.Origin + ":" + w.Key }

// nameOf is a webhook's name, or its key: those of an IAM may have no name.
func nameOf(w *outbox.Webhook) string {
	if w.Name == "" {
		return w.Key
	}
	return w.Name
}

// findOwn returns a webhook whose definition may be changed here.
func (s *session) findOwn(ctx context.Context, which string) (*outbox.Webhook, error) {
	w, err := s.findDefinition(ctx, which)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Origin == outbox.OriginIAM:
		return nil, &usageError{fmt.Sprintf("webhook %s (%s) is defined in the IAM, in tenant %s: change it there, and the relay follows at once", visible(nameOf(w)), address(w), w.Tenant)}
	case w.Origin == outbox.OriginConfig:
		return nil, &usageError{fmt.Sprintf("webhook %s (%s) is defined in the configuration: change its [[webhook]] in %s, and restart the relay", visible(nameOf(w)), address(w), s.path)}
	case w.RemovedAfter != nil:
		return nil, removedError(w)
	}
	return w, nil
}

func removedError(w *outbox.Webhook) error {
	return fmt.Errorf("webhook %s (%s) was removed", visible(nameOf(w)), address(w))
}

// changeWebhook changes a webhook, and reports it.
func (s *session) changeWebhook(ctx context.Context, w *outbox.Webhook, done string, change func(*outbox.Webhook) error) error {
	changed, err := s.store.ChangeWebhook(ctx, w.ID, change)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", visible(nameOf(w)), err)
	}
	return s.sayWebhook(ctx, &changed, done)
}

// sayWebhook reports what was done with a webhook; as JSON, its new definition and state.
func (s *session) sayWebhook(ctx context.Context, w *outbox.Webhook, done string) error {
	if s.json {
		return s.writeWebhook(ctx, w, "")
	}
	s.say("webhook %s (%s): %s", visible(nameOf(w)), address(w), done)
	return nil
}

// sayDryRun reports what would be done with a webhook.
func (s *session) sayDryRun(w *outbox.Webhook, done string) error {
	if s.json {
		return writeObject(s.out, map[string]any{"dry_run": true, "webhook": w.ID, "effect": done})
	}
	s.say("webhook %s (%s) would be %s", visible(nameOf(w)), address(w), done)
	return nil
}

// writeWebhook prints a webhook's definition and state as JSON.
func (s *session) writeWebhook(ctx context.Context, w *outbox.Webhook, secret string) error {
	states, err := readWebhookStates(ctx, s.cfg, s.store)
	if err != nil {
		return err
	}
	detail := states.detail(w)
	detail.Secret = secret
	return writeObject(s.out, detail)
}
