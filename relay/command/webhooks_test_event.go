package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// testEvent is the default name of a test event. No mapping has an event of that name.
const testEvent = "webhook.test"

// testResult is the outcome of a test event.
type testResult struct {
	WebhookID string        `json:"webhook_id"`
	Class     webhook.Class `json:"class"`
	Status    int           `json:"status"` // 0: no response
	Error     string        `json:"error,omitempty"`
	Duration  float64       `json:"duration_ms"`
	timing
	RetryAfter float64 `json:"retry_after_s,omitempty"`
	// Response is the beginning of the response of a failed attempt, with --response.
	Response *string `json:"response,omitempty"`
}

func webhooksTestCommand(env *environment) *cobra.Command {
	var event string
	var response bool
	cmd := env.webhookCommand(&cobra.Command{
		Use:   "test",
		Short: "Send a test event now",
		Long: `Send a test event to a webhook now, as the relay would, and print the outcome. Nothing is
stored. It exits with 1 if the event is not delivered.`,
		Example: `  iam-relay webhooks test crm
  iam-relay webhooks test crm --event user.created --response`,
	}, func(ctx context.Context, s *session, which string) error {
		return s.testWebhook(ctx, which, event, response)
	})
	cmd.Flags().BoolVar(&response, "response", false, "print the beginning of the response to a failed attempt")
	cmd.Flags().StringVar(&event, "event", testEvent, "send an event of this `NAME`, for receivers that refuse unknown names; its data is that of the newest such event that the webhook may receive")
	return cmd
}

func (s *session) testWebhook(ctx context.Context, which, event string, response bool) error {
	w, err := s.findDefinition(ctx, which)
	if err != nil {
		return err
	}
	message, err := s.testMessage(ctx, w, event)
	if err != nil {
		return err
	}
	result, err := s.sendTest(ctx, w, message)
	if err != nil {
		return err
	}
	if !response {
		result.Response = nil
	}
	if s.json {
		err = writeObject(s.out, result)
	} else {
		result.write(s.out)
	}
	if err == nil && result.Class != webhook.ClassDelivered {
		err = fmt.Errorf("webhook %s: the test event was not delivered", visible(nameOf(w)))
	}
	return err
}

// sendTest makes one attempt as the relay would, through the same guarded client.
func (s *session) sendTest(ctx context.Context, w *outbox.Webhook, message *webhook.Message) (*testResult, error) {
	sender, err := webhook.NewSender(s.cfg.Delivery.Sender(s.version))
	if err != nil {
		return nil, err
	}
	defer sender.Close()
	result := &testResult{WebhookID: message.ID}
	var outcome webhook.Outcome
	endpoint, err := endpointOf(w, time.Now())
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

// endpointOf is the endpoint of a stored webhook, with the secrets that sign now.
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

func (r *testResult) write(out io.Writer) {
	fmt.Fprint(out, r.Class)
	if r.Status != 0 {
		fmt.Fprintf(out, ", status %d", r.Status)
	}
	fmt.Fprintf(out, ", in %.1f ms%s\n", r.Duration, r.timing)
	if r.Error != "" {
		fmt.Fprintln(out, visible(r.Error))
	}
	if r.RetryAfter > 0 {
		fmt.Fprintf(out, "retry after: %gs\n", r.RetryAfter)
	}
	if r.Response != nil && *r.Response != "" {
		fmt.Fprintf(out, "response: %q\n", *r.Response)
	}
}
