package delivery

import (
	"errors"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// definition is what the webhook's owner has configured.
type definition struct {
	name   string
	origin string
	key    string // within its origin
	tenant string
	// tenantKeys are the keys of the tenants that are called tenant.
	tenantKeys   []string
	removedAfter *int64 // the last event that a removed webhook gets
	version      int64
	resumeCount  int // how often its failures were forgiven by command, as far as this relay knows
	target       *webhook.Target
	invalid      error  // why nothing can be sent to the target
	dropped      string // why headers are not sent, as logged
	options      webhook.Options
	schedule     webhook.Schedule
}

// configure takes over the webhook's definition.
func (d *Dispatcher) configure(e *endpoint, w *outbox.Webhook) {
	e.name, e.origin, e.key, e.tenant, e.removedAfter, e.version = w.Name, w.Origin, w.Key, w.Tenant, w.RemovedAfter, max(e.version, w.Version)
	e.tenantKeys = w.TenantKeys
	if e.name == "" {
		e.name = w.Origin + ":" + w.Key
	}
	if !e.enabled && w.Enabled || w.ResumeCount > e.resumeCount {
		e.resumeCount = max(e.resumeCount, w.ResumeCount)
		e.resumed()
		d.recorder.health(e.id, e.breaker.Health)
	}
	enabled := e.enabled
	if w.RemovedAfter == nil || w.MovedAway() { // a webhook that is only removed goes on as it was
		enabled = w.Enabled
	}
	if enabled {
		e.switchedOn()
	} else {
		e.disabled(d.head)
	}
	d.setTarget(e, w)
	e.queue.ordering = e.options.Ordering
	e.schedule = d.Schedule
	if e.options.Schedule != nil {
		e.schedule.Delays = e.options.Schedule
	}
	e.window.setMax(d.InFlight, e.options.InFlight)
	if w.Handshake != "" {
		e.handshake = handshake(w.Handshake)
	}
	e.limitRate()
}

// setTarget makes the target of requests from the webhook's definition.
func (d *Dispatcher) setTarget(e *endpoint, w *outbox.Webhook) {
	var secrets []webhook.Secret
	for _, s := range w.ValidSecrets(d.Store.ServerTime(time.Now())) {
		secrets = append(secrets, webhook.Secret(s))
	}
	var err error
	if e.options, err = webhook.ParseOptions(w.Options); err != nil {
		e.options = webhook.Options{}
	}
	credentials, credentialsErr := webhook.ParseCredentials(w.Credentials)
	e.target, e.invalid = d.Sender.Target(&webhook.Endpoint{
		ID: w.ID, Origin: w.Origin, Key: w.Key, Name: e.name, URL: w.URL, Headers: w.Headers, Secrets: secrets, Tenant: w.Tenant,
		Options: e.options, Credentials: credentials,
	})
	e.group = group{tenant: w.Tenant}
	if e.target != nil {
		e.group.host = e.target.Host()
	}
	if e.invalid = errors.Join(e.invalid, err, credentialsErr); e.invalid != nil {
		d.Log.Warn("nothing can be sent to the webhook; correct its definition", "webhook", e.name, "err", e.invalid)
		return
	}
	dropped := ""
	if err := e.target.DroppedHeaders(); err != nil {
		dropped = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if dropped != "" && dropped != e.dropped {
		d.Log.Warn("headers of the webhook are not sent; remove them in the IAM", "webhook", e.name, "reason", dropped)
	}
	e.dropped = dropped
}
