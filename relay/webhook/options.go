package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Ordering is what is kept of the commit order on the way to one endpoint.
type Ordering string

const (
	// OrderingNone delivers as fast as it can: a failed delivery comes later than those behind it.
	OrderingNone Ordering = "none"
	// OrderingResource keeps the order of the events of one resource. One that fails holds up the later ones of its
	// resource only, until it is delivered or dead.
	OrderingResource Ordering = "resource"
	// OrderingStrict keeps the order of all events: one at a time, and none after one that failed until that is delivered or
	// skipped by hand.
	OrderingStrict Ordering = "strict"
)

// Options say how an endpoint is delivered to. The zero value is what the relay does by default.
type Options struct {
	Ordering Ordering `json:"ordering,omitempty"`
	// Schedule replaces the relay's; nil does not. An empty one is a single attempt.
	Schedule Delays `json:"schedule,omitempty"`
	// InFlight bounds the requests on their way at once; 0 is the relay's default.
	InFlight int `json:"in_flight,omitempty"`
	// Rate bounds the requests per second; 0 does not.
	Rate float64 `json:"rate,omitempty"`
	// CloudEvents adds the headers of the binary content mode of CloudEvents 1.0.
	CloudEvents bool `json:"cloudevents,omitempty"`
	// Handshake asks the endpoint before the first delivery whether it agrees (CloudEvents HTTP Webhook, section 4).
	Handshake bool `json:"handshake,omitempty"`
}

// Check reports what cannot be meant.
func (o *Options) Check() error {
	var problems []error
	switch o.Ordering {
	case "", OrderingNone, OrderingResource, OrderingStrict:
	default:
		problems = append(problems, fmt.Errorf(`ordering %q is none of "none", "resource", "strict"`, o.Ordering))
	}
	if o.InFlight < 0 || o.InFlight > 10_000 {
		problems = append(problems, errors.New("in_flight must be from 1 to 10000, or 0 for the relay's default"))
	}
	if !(o.Rate >= 0 && o.Rate <= 1e6) {
		problems = append(problems, errors.New("rate must be from 0 (no limit) to 1000000 requests per second"))
	}
	for _, d := range o.Schedule {
		if d < 10*time.Millisecond || d > 30*24*time.Hour {
			problems = append(problems, errors.New("each delay of the schedule must be from 10ms to 720h"))
			break
		}
	}
	return errors.Join(problems...)
}

// Exclusive reports whether one relay alone may send to the endpoint: it keeps an order or a rate.
func (o *Options) Exclusive() bool {
	return o.Rate > 0 || o.Ordered()
}

// Ordered reports whether any order is kept.
func (o *Options) Ordered() bool {
	return o.Ordering == OrderingResource || o.Ordering == OrderingStrict
}

// JSON is how the options are stored.
func (o *Options) JSON() string { return mustMarshal(o) }

// ParseOptions reads what JSON has written.
func ParseOptions(text string) (Options, error) {
	var o Options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return o, fmt.Errorf("options of a webhook: %w", err)
	}
	return o, o.Check()
}

// Credentials are what an endpoint wants to see besides signatures, and how it is known. They may hold secrets: never
// log them.
type Credentials struct {
	// CA are certificates in PEM that verify the endpoint, instead of the system's.
	CA string `json:"ca,omitempty"`
	// ClientCert and ClientKey, in PEM, are shown to the endpoint (mTLS).
	ClientCert string `json:"client_cert,omitempty"`
	ClientKey  string `json:"client_key,omitempty"`
	// Bearer is sent as it is in the Authorization header.
	Bearer string `json:"bearer,omitempty"`
	// OAuth2 fetches bearer tokens; nil does not.
	OAuth2 *OAuth2 `json:"oauth2,omitempty"`
}

// OAuth2 is a client-credentials grant (RFC 6749, section 4.4).
type OAuth2 struct {
	TokenURL     string   `json:"token_url"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Scopes       []string `json:"scopes,omitempty"`
}

// String redacts.
func (c Credentials) String() string { return redacted }

// GoString keeps %#v from printing the secrets.
func (c Credentials) GoString() string { return redacted }

// JSON is how credentials are stored, and sealed where a key is configured; empty if there are none.
func (c *Credentials) JSON() string {
	if *c == (Credentials{}) {
		return ""
	}
	return mustMarshal(c)
}

// ParseCredentials reads what JSON has written. The error repeats nothing of the text.
func ParseCredentials(text string) (Credentials, error) {
	var c Credentials
	if text == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return Credentials{}, errors.New("the credentials of a webhook are stored in a form that this version cannot read")
	}
	return c, nil
}

// Delays are durations that are stored as text with units.
type Delays []time.Duration

// MarshalJSON implements json.Marshaler.
func (d Delays) MarshalJSON() ([]byte, error) {
	texts := make([]string, len(d))
	for i, delay := range d {
		texts[i] = delay.String()
	}
	return json.Marshal(texts)
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Delays) UnmarshalJSON(text []byte) error {
	var texts []string
	if err := json.Unmarshal(text, &texts); err != nil {
		return err
	}
	*d = make(Delays, len(texts))
	for i, t := range texts {
		delay, err := time.ParseDuration(t)
		if err != nil {
			return err
		}
		(*d)[i] = delay
	}
	return nil
}

func mustMarshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // structs of texts and numbers always marshal
		panic(err)
	}
	return string(text)
}
