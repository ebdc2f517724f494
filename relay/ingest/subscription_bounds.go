package ingest

import (
	"errors"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Names and descriptions are only displayed, so longer ones are cut off (in characters).
const (
	maxWebhookName        = 500
	maxWebhookDescription = 4000
)

var errNoTenant = errors.New("its tenant is unknown")

// usable refuses a webhook of the IAM that has no tenant or exceeds the limits: tenants write them, and all are kept in memory. It truncates
// what does not matter for delivery, and leaves out headers beyond the limits, which dropped names.
func usable(s *mapping.Subscription) (dropped, err error) {
	s.Name, s.Description = webhook.Truncate(s.Name, maxWebhookName), webhook.Truncate(s.Description, maxWebhookDescription)
	if s.Tenant == "" {
		return nil, errNoTenant
	}
	s.Headers, dropped = webhook.LimitHeaders(s.Headers)
	return dropped, webhook.CheckLimits(s.URL, secrets(s.Secret), s.Events)
}
