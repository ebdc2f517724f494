package command

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// eventNamed reads an argument that names one event by its number or its webhook-id.
func eventNamed(text string) (outbox.EventFilter, error) {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil && id > 0 {
		return outbox.EventFilter{ID: id}, nil
	}
	if strings.HasPrefix(text, "evt_") {
		return outbox.EventFilter{WebhookID: text}, nil
	}
	return outbox.EventFilter{}, &usageError{fmt.Sprintf("%q is not an event; give its number or its webhook-id, evt_…", text)}
}

// findEvent looks up the event of an argument.
func findEvent(ctx context.Context, store *outbox.Store, text string) (*outbox.Event, error) {
	f, err := eventNamed(text)
	if err != nil {
		return nil, err
	}
	e, err := store.Event(ctx, f)
	if err == nil && e == nil {
		err = fmt.Errorf("there is no event %s, or it is past retention", text)
	}
	return e, err
}

// findWebhook looks up a webhook by its number, name or key.
func findWebhook(ctx context.Context, store *outbox.Store, text string) (*outbox.WebhookRef, error) {
	all, err := store.WebhookRefs(ctx)
	if err != nil {
		return nil, err
	}
	var found []*outbox.WebhookRef
	for i := range all {
		w := &all[i]
		if strconv.FormatInt(w.ID, 10) == text || w.Origin+":"+w.Key == text {
			return w, nil
		}
		if w.Name == text || w.Key == text {
			found = append(found, w)
		}
	}
	// A removed one gives way to its successor of the same name.
	if kept := slices.DeleteFunc(slices.Clone(found), func(w *outbox.WebhookRef) bool { return w.Removed }); len(kept) == 1 {
		found = kept
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no webhook %q; iam-relay webhooks lists them", text)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, w := range found {
		ids[i] = strconv.FormatInt(w.ID, 10)
	}
	return nil, fmt.Errorf("several webhooks are called %q; give the number of one: %s", text, strings.Join(ids, ", "))
}
