package ferriskey

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Webhook is what an administrator enters.
type Webhook struct {
	Endpoint, Name, Description string
	Headers                     map[string]string
	Events                      []string
}

// CreateWebhook is two transactions: the webhook, then all its subscriptions. The secret is made by FerrisKey.
func (i *IAM) CreateWebhook(ctx context.Context, realm string, w Webhook) (webhook, secret string, err error) {
	webhook, secret = NewID(), newSecret()
	headers, err := w.headersJSON()
	if err != nil {
		return "", "", err
	}
	if err := i.exec(ctx, "insert webhook", `INSERT INTO webhooks (id, realm_id, endpoint, name, description, headers, secret, triggered_at, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, $8)`,
		webhook, realm, w.Endpoint, orNull(w.Name), orNull(w.Description), headers, secret, now()); err != nil {
		return "", "", err
	}
	return webhook, secret, i.subscribe(ctx, webhook, w.Events)
}

// subscribe inserts all subscriptions in one statement.
func (i *IAM) subscribe(ctx context.Context, webhook string, events []string) error {
	if len(events) == 0 {
		return nil
	}
	arguments := []any{webhook}
	var rows []string
	for _, event := range events {
		arguments = append(arguments, NewID(), event)
		rows = append(rows, fmt.Sprintf("($%d, $%d, $1)", len(arguments)-1, len(arguments)))
	}
	return i.exec(ctx, "insert webhook subscribers", `INSERT INTO webhook_subscribers (id, name, webhook_id) VALUES `+strings.Join(rows, ", "), arguments...)
}

// UpdateWebhook is three transactions: the webhook, the end of all its subscriptions, and the new ones.
func (i *IAM) UpdateWebhook(ctx context.Context, webhook string, w Webhook) error {
	headers, err := w.headersJSON()
	if err != nil {
		return err
	}
	return inOrder(
		func() error {
			return i.change(ctx, "update webhook", `UPDATE webhooks SET name = $2, description = $3, endpoint = $4, headers = $5, updated_at = $6 WHERE id = $1`,
				webhook, orNull(w.Name), orNull(w.Description), w.Endpoint, headers, now())
		},
		func() error {
			return i.exec(ctx, "delete webhook subscribers", `DELETE FROM webhook_subscribers WHERE webhook_id = $1`, webhook)
		},
		func() error { return i.subscribe(ctx, webhook, w.Events) },
	)
}

// MarkWebhookDelivery is what FerrisKey's own sender writes after a delivery. code is empty after a success.
func (i *IAM) MarkWebhookDelivery(ctx context.Context, webhook, status, code string) error {
	return i.change(ctx, "mark webhook delivery", `UPDATE webhooks SET triggered_at = $2, last_delivery_status = $3, last_delivery_error = $4 WHERE id = $1`,
		webhook, now(), status, orNull(code))
}

// DeleteWebhook deletes a webhook with its subscriptions.
func (i *IAM) DeleteWebhook(ctx context.Context, webhook string) error {
	return i.change(ctx, "delete webhook", `DELETE FROM webhooks WHERE id = $1`, webhook)
}

func (w Webhook) headersJSON() (string, error) {
	if w.Headers == nil {
		return "{}", nil
	}
	headers, err := json.Marshal(w.Headers)
	if err != nil {
		return "", fmt.Errorf("encode the headers of a webhook: %w", err)
	}
	return string(headers), nil
}
