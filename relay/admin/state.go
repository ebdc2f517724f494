package admin

import "time"

// Standing sums up in one word whether the relay keeps up with its source.
type Standing string

// The states of a relay. The metric, /readyz, status and the docs use the same words.
const (
	Starting     Standing = "starting"     // has not read the WAL yet
	Idle         Standing = "idle"         // has read all of the WAL, and nothing new arrives
	Streaming    Standing = "streaming"    // transactions arrive and reach the outbox within seconds
	Behind       Standing = "catching up"  // reads a backlog
	Stuck        Standing = "stuck"        // cannot commit to the outbox
	Disconnected Standing = "disconnected" // cannot connect to the source
	StandingBy   Standing = "standby"      // another relay leads
	Lost         Standing = "lost"         // the slot is missing or can no longer be read
)

var standings = []Standing{Starting, Idle, Streaming, Behind, Stuck, Disconnected, StandingBy, Lost}

// State is the relay's condition at one moment. It is read at each scrape rather than pushed into gauges: a pushed gauge
// keeps its last value when the goroutine that sets it dies.
type State struct {
	// Standing is empty while it is unknown.
	Standing Standing
	// Connected reports whether the replication connection is up.
	Connected bool
	// Leader reports whether this relay ingests.
	Leader bool
	// LagBytes is the distance from the acknowledged position to the server's WAL end, as the server last reported it.
	LagBytes uint64
	// Through is the latest time at which the outbox is known to have held everything committed until then; zero if unknown.
	Through time.Time
	// Slot is nil while it is unknown.
	Slot *Slot
	// Held is the number of delayed events, which a later change may still cancel (unless_followed).
	Held int
	// Withheld is the number of optional tables and columns that exist but cannot be read.
	Withheld int
	// Webhooks has one entry for each existing webhook. Names are unique.
	Webhooks []WebhookStats
}

// Slot is the replication slot as its server reports it.
type Slot struct {
	// Active reports whether a relay, this or another, streams from it.
	Active bool
	// Status is pg_replication_slots.wal_status, or missing.
	Status string
	// RetainedBytes is the WAL that the server retains for the slot.
	RetainedBytes uint64
	// LagBytes is the WAL that is not yet acknowledged.
	LagBytes uint64
	// SafeBytes is pg_replication_slots.safe_wal_size: how much WAL can be written before the slot may be lost; -1 if unknown
	// or unlimited.
	SafeBytes int64
}

// WebhookStats are the figures of one webhook.
type WebhookStats struct {
	// Webhook is the configured name, or else the id.
	Webhook string
	// Queue is the number of deliveries queued in memory or in flight.
	Queue int
	// Behind is the number of events between the webhook's cursor and the newest event; 0 when it is live.
	Behind int
	// Parked is the number of failed deliveries that will be retried.
	Parked int
	// Dead is the number of deliveries that were given up.
	Dead int
}
