package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// find returns the webhook that is meant. One that was removed is found only where no other has the name.
func (w *webhooks) find(ctx context.Context, which string) (*outbox.Webhook, error) {
	all, err := w.store.LoadWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	found := meant(all, which)
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no webhook %q; iam-relay webhooks list shows them", which)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, one := range found {
		ids[i] = address(one)
	}
	return nil, &usageError{fmt.Sprintf("%q may be %s; give one of these", which, strings.Join(ids, " or "))}
}

// meant returns the webhooks that may be meant. An origin:key or an id means that webhook, whatever others are called: names are
// given by whoever may make webhooks in the IAM.
func meant(all []outbox.Webhook, which string) []*outbox.Webhook {
	for _, removed := range []bool{false, true} {
		for _, form := range []func(*outbox.Webhook) string{address, func(one *outbox.Webhook) string { return strconv.FormatInt(one.ID, 10) }, nameOf} {
			var found []*outbox.Webhook
			for i := range all {
				if one := &all[i]; (one.RemovedAfter != nil) == removed && which == form(one) {
					found = append(found, one)
				}
			}
			if found != nil {
				return found
			}
		}
	}
	return nil
}

// address is the form that names a webhook for certain.
func address(one *outbox.Webhook) string { return one.Origin + ":" + one.Key }

// nameOf is what a webhook is called: an IAM's may have no name.
func nameOf(one *outbox.Webhook) string {
	if one.Name == "" {
		return one.Key
	}
	return one.Name
}

// findOwn returns the webhook that is meant, if its definition may be changed here.
func (w *webhooks) findOwn(ctx context.Context, which string) (*outbox.Webhook, error) {
	one, err := w.find(ctx, which)
	if err != nil {
		return nil, err
	}
	switch {
	case one.Origin == outbox.OriginIAM:
		return nil, &usageError{fmt.Sprintf("webhook %s (%s) is defined in the IAM, in tenant %s: change it there, and the relay follows at once", visible(nameOf(one)), address(one), one.Tenant)}
	case one.Origin == outbox.OriginConfig:
		return nil, &usageError{fmt.Sprintf("webhook %s (%s) is defined in the configuration: change its [[webhook]] in %s, and restart the relay", visible(nameOf(one)), address(one), w.config)}
	case one.RemovedAfter != nil:
		return nil, removedError(one)
	}
	return one, nil
}

func removedError(one *outbox.Webhook) error {
	return fmt.Errorf("webhook %s (%s) was removed", visible(nameOf(one)), address(one))
}

// change changes a webhook, and says so with its new state.
func (w *webhooks) change(ctx context.Context, one *outbox.Webhook, done string, change func(*outbox.Webhook) error) error {
	changed, err := w.store.ChangeWebhook(ctx, one.ID, change)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", visible(nameOf(one)), err)
	}
	return w.say(ctx, &changed, done)
}

// say writes what was done, or as JSON what there is now.
func (w *webhooks) say(ctx context.Context, one *outbox.Webhook, done string) error {
	if !w.json {
		fmt.Fprintf(w.env.out, "webhook %s (%s): %s\n", visible(nameOf(one)), address(one), done)
		return nil
	}
	return w.writeDetail(ctx, one, "")
}

// writeDetail writes all about one webhook as JSON.
func (w *webhooks) writeDetail(ctx context.Context, one *outbox.Webhook, secret string) error {
	states, err := readWebhookStates(ctx, w.store)
	if err != nil {
		return err
	}
	detail := states.detail(one)
	detail.Secret = secret
	return writeObject(w.env.out, detail)
}
