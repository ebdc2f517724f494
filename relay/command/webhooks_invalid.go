package command

import (
	"errors"
	"strings"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// findInvalid prepares each webhook for sending, as the relay does.
func (s *webhookStates) findInvalid(cfg *config.Config) {
	sender, err := webhook.NewSender(cfg.Delivery.Sender(""))
	if err != nil {
		return // no relay runs with this configuration; iam-relay check says why
	}
	defer sender.Close()
	s.invalid = map[int64]string{}
	for i := range s.webhooks {
		w := &s.webhooks[i]
		endpoint, err := endpointOf(w, s.now)
		if err == nil {
			_, err = sender.Target(&endpoint)
			err = errors.Unwrap(err) // without the name
		}
		if err != nil {
			s.invalid[w.ID] = strings.ReplaceAll(err.Error(), "\n", "; ") + "; " + correction(w.Origin)
		}
	}
}

// correction says where the definition of a webhook can be corrected.
func correction(origin string) string {
	switch origin {
	case outbox.OriginIAM:
		return "correct it in the IAM"
	case outbox.OriginConfig:
		return "correct its [[webhook]] and restart the relay"
	}
	return "correct it with iam-relay webhooks update"
}
