package webhook

import "time"

// The origins of endpoints.
const (
	OriginIAM    = "iam"
	OriginConfig = "config"
	OriginRelay  = "relay" // made with iam-relay webhooks
)

// AllTenants as an Endpoint's Tenant subscribes to every tenant.
const AllTenants = "*"

// Endpoint is one subscription: a URL that wants some events of some tenants.
type Endpoint struct {
	ID     int64
	Origin string
	// Key names the endpoint within its Origin and never changes: the row's key, or the name in the configuration.
	Key         string
	Name        string
	Description string
	URL         string
	// Headers are sent with every request. Their values may be secrets.
	Headers map[string]string
	// Secrets all sign the Standard Webhooks way; the first also makes FerrisKey's signature. Without any, requests carry
	// no signature.
	Secrets []Secret
	// Events are patterns, see Matches.
	Events []string
	// Tenant is the tenant's key, or AllTenants; for OriginConfig it may be the tenant's name instead.
	Tenant      string
	Disabled    bool
	Options     Options
	Credentials Credentials
}

// Message is one event on its way to one endpoint.
type Message struct {
	// ID is the webhook-id: the same for every endpoint and attempt. It must not contain a dot, which separates the
	// parts of the signed content.
	ID     string
	Event  string
	Tenant string
	// Resource is the key of what changed; it may be empty.
	Resource string
	// Body is sent and signed byte for byte. It must not change, not even after Send has returned: an abandoned connection
	// may still be reading it.
	Body []byte
	// Length is that of a body that was not read because it is larger than MaxPayload.
	Length int64
	// DeliveryID names the pair of event and endpoint, the same on all attempts. Empty means: derived from ID, the
	// endpoint and Occurred.
	DeliveryID string
	// Attempt counts from 1. Left is how many attempts would follow, should this one fail.
	Attempt int
	Left    int
	// Occurred is the commit time of the change; of one that was Reconciled, the time of the comparison that has found it.
	Occurred   time.Time
	Reconciled bool
	// Time is the attempt's time by the clock of the outbox's server; zero means this machine's time.
	Time time.Time
}
