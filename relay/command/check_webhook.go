package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// checkWebhooks checks the definitions of webhooks, without network access.
func (c *check) checkWebhooks() {
	failed := c.failed
	if err := relay.KnownEvents(c.cfg, c.rules); err != nil {
		c.lines("webhooks", err)
	}
	sender, err := webhook.NewSender(c.cfg.Delivery.Sender(c.version))
	if err != nil {
		c.fail("webhooks", "%s", err)
		return
	}
	defer sender.Close()
	fromIAM := c.fromIAM()
	for _, e := range fromIAM {
		target, err := sender.Target(&e)
		if err != nil {
			c.warning("webhooks", "of the IAM, %s: %s", describeEndpoint(&e), errors.Unwrap(err))
		} else if err := target.DroppedHeaders(); err != nil {
			c.warning("webhooks", "of the IAM, %s: not sent: %s", describeEndpoint(&e), err)
		}
	}
	if c.failed > failed {
		return
	}
	switch configured := len(c.cfg.Webhooks); {
	case configured == 0 && !c.cfg.Delivery.IAMWebhooks:
		c.warning("webhooks", "there are none; add a [[webhook]] to the configuration, or set delivery.iam_webhooks")
	case !c.cfg.Delivery.IAMWebhooks:
		c.ok("webhooks", "%d in the configuration; those of the IAM are not used", configured)
	case c.position == nil:
		c.ok("webhooks", "%d in the configuration; those of the IAM are read on the first start", configured)
	default:
		c.ok("webhooks", "%d in the configuration, %d of the IAM", configured, len(fromIAM))
	}
}

// fromIAM returns the webhooks of the IAM that are in the outbox.
func (c *check) fromIAM() []webhook.Endpoint {
	var endpoints []webhook.Endpoint
	for i := range c.webhooks {
		w := &c.webhooks[i]
		if w.Origin != outbox.OriginIAM || w.RemovedAfter != nil || !c.cfg.Delivery.IAMWebhooks {
			continue
		}
		e := webhook.Endpoint{Origin: w.Origin, Key: w.Key, Name: w.Name, URL: w.URL, Headers: w.Headers}
		for _, s := range w.Secrets {
			e.Secrets = append(e.Secrets, webhook.Secret(s))
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}

// describeEndpoint names a webhook of the IAM by its name and key, or, if it has no name, by its key and the host of its URL.
func describeEndpoint(e *webhook.Endpoint) string {
	if name := visible(e.Name); strings.TrimSpace(name) != "" {
		return fmt.Sprintf("%s (%s)", name, visible(e.Key))
	}
	if host := schemeAndHost(e.URL); host != "" {
		return fmt.Sprintf("%s (%s)", visible(e.Key), host)
	}
	return visible(e.Key)
}

// endpoints connects to the URL of each webhook as a delivery does, and sends nothing.
func (c *check) endpoints(ctx context.Context) {
	sender, err := webhook.NewSender(c.cfg.Delivery.Sender(c.version))
	if err != nil {
		c.fail("endpoint", "%s", err)
		return
	}
	defer sender.Close()
	for _, e := range append(c.cfg.Endpoints(), c.fromIAM()...) {
		name := e.Name
		if e.Origin == webhook.OriginIAM {
			name = "of the IAM, " + describeEndpoint(&e)
		}
		if e.Disabled {
			c.pending("endpoint", "%s: switched off", name)
			continue
		}
		target, err := sender.Target(&e)
		if err != nil {
			c.fail("endpoint", "%s: %s", name, errors.Unwrap(err))
			continue
		}
		if err := sender.Probe(ctx, target); err != nil {
			c.fail("endpoint", "%s: %s", name, err)
			continue
		}
		c.ok("endpoint", "%s: accepts connections", name)
	}
}
