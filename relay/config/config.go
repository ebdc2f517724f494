// Package config loads the relay's configuration: one TOML file, whose options environment variables named
// IAM_RELAY__SECTION__KEY override. Load reports all mistakes at once, each with its file, line and option.
package config

import (
	"net/netip"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Config is the whole configuration. Example documents each option.
type Config struct {
	Source   Source    `toml:"source"`
	Mapping  Mapping   `toml:"mapping"`
	Outbox   Outbox    `toml:"outbox"`
	Delivery Delivery  `toml:"delivery"`
	Webhooks []Webhook `toml:"webhook"`
	Admin    Admin     `toml:"admin"`
	Log      Log       `toml:"log"`

	// places holds the place at which each option was set; nil for a Config that Load did not return.
	places places
}

// Source configures the IAM's database and how it is read.
type Source struct {
	// URL is the content of URLFile if that is set.
	URL               DSN      `toml:"url"`
	URLFile           string   `toml:"url_file"`
	Slot              string   `toml:"slot"`
	Publication       string   `toml:"publication"`
	CreatePublication bool     `toml:"create_publication"`
	Reconcile         string   `toml:"reconcile"`
	WALSenderTimeout  Duration `toml:"wal_sender_timeout"`
	MemoryLimit       Size     `toml:"memory_limit"`
	SpillDir          string   `toml:"spill_dir"`
	RetainedWarning   Size     `toml:"retained_warning"`
}

// The values of Source.Reconcile: what to do when the WAL no longer contains every change since the stored position.
const (
	ReconcileAuto = "auto"
	ReconcileStop = "stop"
)

// Mapping selects the rules that turn row changes into events.
type Mapping struct {
	Preset     string   `toml:"preset"`
	File       string   `toml:"file"`
	Schema     string   `toml:"schema"`
	ResourceID string   `toml:"resource_id"`
	Drop       []string `toml:"drop"`
}

// The values of Mapping.ResourceID.
const (
	ResourceIDRow    = "row"
	ResourceIDTenant = "tenant"
)

// Outbox configures the database that stores events and the relay's state.
type Outbox struct {
	// URL is empty if the outbox is in the source's database; see Config.OutboxURL. It is the content of URLFile if that is set.
	URL     DSN    `toml:"url"`
	URLFile string `toml:"url_file"`
	Schema  string `toml:"schema"`
	// KeyFile is the path of the file that holds Keys.
	KeyFile   string   `toml:"key_file"`
	Keys      []Key    `toml:"-"`
	Retention Duration `toml:"retention"`
	Batch     int      `toml:"batch"`
	MaxBody   Size     `toml:"max_body"`
}

// Delivery configures how webhooks are called.
type Delivery struct {
	Timeout        Duration       `toml:"timeout"`
	ConnectTimeout Duration       `toml:"connect_timeout"`
	InFlight       int            `toml:"in_flight"`
	Queue          int            `toml:"queue"`
	Schedule       []Duration     `toml:"schedule"`
	Jitter         float64        `toml:"jitter"`
	AllowHTTP      bool           `toml:"allow_http"`
	AllowNetworks  []netip.Prefix `toml:"allow_networks"`
	IAMWebhooks    bool           `toml:"iam_webhooks"`
	Senders        int            `toml:"senders"`
	PauseAfter     int            `toml:"pause_after"`
	Pause          Duration       `toml:"pause"`
	PauseMax       Duration       `toml:"pause_max"`
	DisableAfter   Duration       `toml:"disable_after"`
	DisableSpread  Duration       `toml:"disable_spread"`
	// MaxPayload is 0 for no limit.
	MaxPayload Size `toml:"max_payload"`
	// Proxy is the content of ProxyFile if that is set.
	Proxy     URL    `toml:"proxy"`
	ProxyFile string `toml:"proxy_file"`
	// Origin is empty for the host's name.
	Origin            string `toml:"origin"`
	CloudEventsSource string `toml:"cloudevents_source"`
}

// Webhook is one [[webhook]]: a subscription of the configuration.
type Webhook struct {
	Name        string `toml:"name"`
	Description string `toml:"description"`
	// URL is the content of URLFile if that is set.
	URL     URL    `toml:"url"`
	URLFile string `toml:"url_file"`
	// Headers includes those of HeadersFile. All values are treated as secrets, since some are.
	Headers     map[string]webhook.Secret `toml:"headers"`
	HeadersFile string                    `toml:"headers_file"`
	Events      []string                  `toml:"events"`
	Tenant      string                    `toml:"tenant"`
	// Secret is the first line of SecretFile if that is set.
	Secret     webhook.Secret `toml:"secret"`
	SecretFile string         `toml:"secret_file"`
	// Previous holds the other lines of SecretFile.
	Previous []webhook.Secret `toml:"-"`
	Unsigned bool             `toml:"unsigned"`
	Enabled  bool             `toml:"enabled"`
	Ordering string           `toml:"ordering"`
	// Schedule is nil for delivery.schedule.
	Schedule []Duration `toml:"schedule"`
	InFlight int        `toml:"in_flight"`
	Rate     float64    `toml:"rate"`

	CAFile string         `toml:"ca_file"`
	CA     webhook.Secret `toml:"-"` // content of CAFile; the same holds for the files below
	// ClientCertFile and ClientKeyFile authenticate the relay to the receiver (mTLS).
	ClientCertFile string         `toml:"client_cert_file"`
	ClientCert     webhook.Secret `toml:"-"`
	ClientKeyFile  string         `toml:"client_key_file"`
	ClientKey      webhook.Secret `toml:"-"`
	TokenFile      string         `toml:"token_file"`
	Token          webhook.Secret `toml:"-"`
	OAuth2         OAuth2         `toml:"oauth2"`
	CloudEvents    bool           `toml:"cloudevents"`
	Handshake      bool           `toml:"handshake"`
}

// OAuth2 configures the client-credentials grant of a webhook. The zero value is none.
type OAuth2 struct {
	TokenURL         URL            `toml:"token_url"`
	ClientID         string         `toml:"client_id"`
	ClientSecretFile string         `toml:"client_secret_file"`
	ClientSecret     webhook.Secret `toml:"-"`
	Scopes           []string       `toml:"scopes"`
}

// Admin configures the HTTP server for health checks and metrics.
type Admin struct {
	// Listen is empty to disable the server.
	Listen string `toml:"listen"`
}

// Log configures the relay's own log.
type Log struct {
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

// Default returns the configuration with no option set. It does not validate, because source.url has no default.
func Default() *Config {
	schedule := webhook.DefaultSchedule()
	delays := make([]Duration, len(schedule.Delays))
	for i, d := range schedule.Delays {
		delays[i] = Duration{d}
	}
	return &Config{
		Source: Source{
			Slot:              "iam_relay",
			Publication:       "iam_relay",
			CreatePublication: true,
			Reconcile:         ReconcileAuto,
			WALSenderTimeout:  Duration{5 * time.Second},
			MemoryLimit:       Size{4 << 20},
			RetainedWarning:   Size{1 << 30},
		},
		Mapping: Mapping{Preset: "ferriskey", ResourceID: ResourceIDRow, Drop: []string{}},
		Outbox:  Outbox{Schema: "iam_relay", Retention: Duration{720 * time.Hour}, Batch: 500, MaxBody: Size{16 << 20}},
		Delivery: Delivery{
			Timeout:        Duration{15 * time.Second},
			ConnectTimeout: Duration{3 * time.Second},
			InFlight:       64,
			Queue:          1000,
			Schedule:       delays,
			Jitter:         schedule.Jitter,
			AllowNetworks:  []netip.Prefix{},
			IAMWebhooks:    true,
			Senders:        512,
			PauseAfter:     10,
			Pause:          Duration{30 * time.Second},
			PauseMax:       Duration{10 * time.Minute},
			DisableAfter:   Duration{5 * 24 * time.Hour},
			DisableSpread:  Duration{12 * time.Hour},
			MaxPayload:     Size{256 << 10},

			CloudEventsSource: "iam-relay",
		},
		Admin: Admin{Listen: "127.0.0.1:9464"},
		Log:   Log{Level: "info", Format: "text"},
	}
}

// defaultWebhook is a [[webhook]] with no option set.
func defaultWebhook() Webhook {
	return Webhook{Events: []string{"*"}, Tenant: webhook.AllTenants, Enabled: true, Ordering: string(webhook.OrderingNone)}
}
