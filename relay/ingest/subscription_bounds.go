package ingest

import (
	"errors"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// What is only shown to people is cut off here.
const (
	maxWebhookName        = 500
	maxWebhookDescription = 4000
)

var errNoTenant = errors.New("its tenant is unknown")

// usable refuses a webhook of the IAM that belongs to nobody or is larger than webhooks are: all of them are kept in memory, and
// tenants write them. It cuts off what does not matter for delivery, and leaves out headers, as dropped says.
func usable(s *mapping.Subscription) (dropped, err error) {
	s.Name, s.Description = webhook.Truncate(s.Name, maxWebhookName), webhook.Truncate(s.Description, maxWebhookDescription)
	if s.Tenant == "" {
		return nil, errNoTenant
	}
	s.Headers, dropped = webhook.LimitHeaders(s.Headers)
	return dropped, webhook.CheckLimits(s.URL, secrets(s.Secret), s.Events)
}
