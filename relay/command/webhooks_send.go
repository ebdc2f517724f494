package command

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// testEvent is the name of the test event unless --event names another. No mapping has an event of that name.
const testEvent = "webhook.test"

// testResult is what came of a test event.
type testResult struct {
	WebhookID string        `json:"webhook_id"`
	Class     webhook.Class `json:"class"`
	Status    int           `json:"status"` // 0 without an answer
	Error     string        `json:"error,omitempty"`
	Duration  float64       `json:"duration_ms"`
	// The phases are in milliseconds; one that there was not is left out.
	timing
	RetryAfter float64 `json:"retry_after_s,omitempty"`
	// Response is the beginning of a bad answer, where it was asked for.
	Response *string `json:"response,omitempty"`
}

func webhooksTest(flags *flag.FlagSet) func(context.Context, *webhooks, []string) error {
	response := flags.Bool("response", false, "also show the beginning of a bad answer")
	event := flags.String("event", testEvent, "send an event of this `name`, for a receiver that refuses names it does not know; its data is that of the newest such event that the webhook may see")
	return func(ctx context.Context, w *webhooks, args []string) error {
		one, err := w.find(ctx, args[0])
		if err != nil {
			return err
		}
		message, err := w.testMessage(ctx, one, *event)
		if err != nil {
			return err
		}
		result, err := w.sendTest(ctx, one, message)
		if err != nil {
			return err
		}
		if !*response {
			result.Response = nil
		}
		if w.json {
			err = writeObject(w.env.out, result)
		} else {
			result.write(w)
		}
		if err == nil && result.Class != webhook.ClassDelivered {
			err = fmt.Errorf("webhook %s: the test event was not delivered", visible(nameOf(one)))
		}
		return err
	}
}

// sendTest makes one attempt as the relay would, through the same guard. Nothing of it is stored.
func (w *webhooks) sendTest(ctx context.Context, one *outbox.Webhook, message *webhook.Message) (*testResult, error) {
	sender, err := webhook.NewSender(w.cfg.Delivery.Sender(w.env.version))
	if err != nil {
		return nil, err
	}
	defer sender.Close()
	result := &testResult{WebhookID: message.ID}
	var outcome webhook.Outcome
	endpoint, err := endpointOf(one, time.Now())
	if err != nil {
		outcome = webhook.Invalid(err)
	} else if target, err := sender.Target(&endpoint); err != nil {
		outcome = webhook.Invalid(err)
	} else {
		outcome = sender.Send(ctx, target, message)
	}
	result.timing = timingOf(outcome.Phases)
	result.Class, result.Status = outcome.Class, outcome.Status
	result.Duration, result.RetryAfter = inMilliseconds(outcome.Duration), outcome.RetryAfter.Seconds()
	if outcome.Err != nil {
		result.Error = outcome.Err.Error()
	}
	snippet := string(outcome.Snippet)
	result.Response = &snippet
	return result, nil
}

// endpointOf is a stored webhook as senders know it, with the secrets that sign now.
func endpointOf(w *outbox.Webhook, now time.Time) (webhook.Endpoint, error) {
	e := webhook.Endpoint{ID: w.ID, Origin: w.Origin, Key: w.Key, Name: nameOf(w), URL: w.URL, Headers: w.Headers, Tenant: w.Tenant}
	for _, s := range w.ValidSecrets(now) {
		e.Secrets = append(e.Secrets, webhook.Secret(s))
	}
	var err error
	if e.Options, err = webhook.ParseOptions(w.Options); err != nil {
		return e, err
	}
	e.Credentials, err = webhook.ParseCredentials(w.Credentials)
	return e, err
}

func (r *testResult) write(w *webhooks) {
	out := w.env.out
	fmt.Fprint(out, r.Class)
	if r.Status != 0 {
		fmt.Fprintf(out, ", status %d", r.Status)
	}
	fmt.Fprintf(out, ", in %.1f ms%s\n", r.Duration, r.timing)
	if r.Error != "" {
		fmt.Fprintln(out, visible(r.Error))
	}
	if r.RetryAfter > 0 {
		fmt.Fprintf(out, "it asks to be left alone for %gs\n", r.RetryAfter)
	}
	if r.Response != nil && *r.Response != "" {
		fmt.Fprintf(out, "its answer begins: %q\n", *r.Response)
	}
}
