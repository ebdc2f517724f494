package command

import (
	"context"
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// checkRetry refuses what cannot be meant.
func (c *deliveriesCommandLine) checkRetry(args []string) error {
	switch {
	case len(args) == 1 && (c.allDead || c.class != ""):
		return &usageError{"name one EVENT or say --all-dead, not both"}
	case len(args) == 0 && !c.allDead:
		return &usageError{"retry what? name an EVENT with --webhook, or say --all-dead"}
	case c.class != "" && !slices.Contains(webhook.Classes(), webhook.Class(c.class)):
		return &usageError{fmt.Sprintf("%q is no class of an outcome; docs/delivery.md lists them", c.class)}
	case len(args) == 0:
		return nil
	case c.webhook == "":
		return &usageError{"to which webhook? give --webhook"}
	}
	return oneEvent(args)
}

func (c *deliveriesCommandLine) retry(ctx context.Context, o *opened, args []string) error {
	webhookID, err := c.webhookID(ctx, o.store)
	if err != nil {
		return err
	}
	f := outbox.RetryFilter{Webhook: webhookID, Class: c.class, DeadOnly: c.allDead}
	if len(args) == 1 {
		e, err := findEvent(ctx, o.store, args[0])
		if err != nil {
			return err
		}
		f.Event = e.ID
	}
	n, err := o.store.Retry(ctx, f)
	switch {
	case err != nil:
		return err
	case n == 0 && f.Event != 0:
		return c.notParked(ctx, o.store, f.Event, webhookID)
	case c.json:
		return writeLine(o.out, map[string]int64{"due": n})
	case n == 1:
		fmt.Fprintln(o.out, "1 delivery is due now")
	default:
		fmt.Fprintf(o.out, "%d deliveries are due now\n", n)
	}
	return nil
}

// notParked says why there was nothing to do.
func (c *deliveriesCommandLine) notParked(ctx context.Context, store *outbox.Store, event, webhookID int64) error {
	all, err := store.Deliveries(ctx, outbox.DeliveryFilter{EventFilter: outbox.EventFilter{ID: event}, Webhook: webhookID}, 1)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("event %d was not for webhook %s; iam-relay replay sends it all the same, if its tenant is the webhook's", event, c.webhook)
	}
	if all[0].State == outbox.DeliveryPending {
		return fmt.Errorf("event %d is still on its way to webhook %s", event, c.webhook)
	}
	return fmt.Errorf("event %d is not parked for webhook %s: it is %s; iam-relay replay %d --webhook %d sends it once more", event, c.webhook, all[0].State, event, webhookID)
}

func (c *deliveriesCommandLine) checkSkip(args []string) error {
	if c.webhook == "" {
		return &usageError{"of which webhook? give --webhook"}
	}
	return oneEvent(args)
}

func (c *deliveriesCommandLine) skip(ctx context.Context, o *opened, args []string) error {
	webhookID, err := c.webhookID(ctx, o.store)
	if err != nil {
		return err
	}
	f, err := eventNamed(args[0])
	if err != nil {
		return err
	}
	if f.ID == 0 { // a number is enough: retention may have dropped the event
		e, err := findEvent(ctx, o.store, args[0])
		if err != nil {
			return err
		}
		f.ID = e.ID
	}
	skipped, err := o.store.Skip(ctx, f.ID, webhookID)
	switch {
	case err != nil:
		return err
	case !skipped:
		return c.notParked(ctx, o.store, f.ID, webhookID)
	case c.json:
		return writeLine(o.out, map[string]int64{"skipped": 1})
	}
	fmt.Fprintf(o.out, "event %d is given up for webhook %s\n", f.ID, c.webhook)
	return nil
}
