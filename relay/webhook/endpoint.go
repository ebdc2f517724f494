package webhook

import "time"

// The values of Endpoint.Origin: where the endpoint is defined.
const (
	OriginIAM    = "iam"
	OriginConfig = "config"
	OriginRelay  = "relay" // defined with iam-relay webhooks
)

// AllTenants is the Endpoint.Tenant that subscribes to all tenants.
const AllTenants = "*"

// Endpoint is one subscription: a URL that receives certain events of certain tenants.
type Endpoint struct {
	ID     int64
	Origin string
	// Key identifies the endpoint within its Origin and never changes: the key of the row, or the name in the configuration.
	Key         string
	Name        string
	Description string
	URL         string
	// Headers are sent with every request. Their values may be secrets.
	Headers map[string]string
	// Secrets each make a Standard Webhooks signature; the first symmetric one also makes FerrisKey's. Without secrets, requests are
	// not signed.
	Secrets []Secret
	// Events are patterns; see Matches.
	Events []string
	// Tenant is the tenant's key, or AllTenants. With OriginConfig it may also be the tenant's name.
	Tenant      string
	Disabled    bool
	Options     Options
	Credentials Credentials
}

// Message is one event to deliver to one endpoint.
type Message struct {
	// ID is the webhook-id, the same for every endpoint and attempt. It must not contain a dot, which separates the parts of the
	// signed content.
	ID     string
	Event  string
	Tenant string
	// Resource is the key of the resource that changed; it may be empty.
	Resource string
	// Body is sent and signed byte for byte. It must not change even after Send has returned, because an abandoned connection may
	// still read it.
	Body []byte
	// BodyLength is the length of a body that was not loaded because it exceeds MaxPayload.
	BodyLength int64
	// DeliveryID identifies the event at this endpoint, the same on all attempts. If empty, it is derived from ID, the endpoint and
	// Occurred.
	DeliveryID string
	// Attempt counts from 1. AttemptsLeft is the number of attempts that follow if this one fails.
	Attempt      int
	AttemptsLeft int
	// Occurred is the commit time of the change or, if Reconciled, the time of the reconciliation that found it.
	Occurred   time.Time
	Reconciled bool
	// Time is the time of the attempt by the outbox server's clock; zero for this machine's clock.
	Time time.Time
}
