package admin

import "time"

// State sums up in one word whether the relay keeps up with its source.
type State string

// The states of a relay. The metric, /readyz, status and the docs use the same words.
const (
	Starting     State = "starting"     // has not read the WAL yet
	Idle         State = "idle"         // has read all of the WAL, and nothing new arrives
	Streaming    State = "streaming"    // transactions arrive and reach the outbox within seconds
	CatchingUp   State = "catching up"  // reads a backlog
	Stuck        State = "stuck"        // cannot commit to the outbox
	Disconnected State = "disconnected" // cannot connect to the source
	Standby      State = "standby"      // another relay leads
	Lost         State = "lost"         // the slot is missing or can no longer be read
)

var states = []State{Starting, Idle, Streaming, CatchingUp, Stuck, Disconnected, Standby, Lost}

// Gauges holds the figures of the relay at one moment. They are read at each scrape rather than pushed: a pushed gauge keeps its last
// value when the goroutine that sets it dies.
type Gauges struct {
	// State is empty while it is unknown.
	State State
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
	// Delayed is the number of events that a later change may still cancel (unless_followed).
	Delayed int
	// Inaccessible is the number of optional tables and columns that exist but cannot be read.
	Inaccessible int
	// Hazards is the number of tables on which a publication makes UPDATE or DELETE fail.
	Hazards int
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

// WebhookStats holds the figures of one webhook.
type WebhookStats struct {
	// Webhook is the configured name, or else the id.
	Webhook string
	// Queued is the number of deliveries queued in memory or in flight.
	Queued int
	// Lag is the number of events between the webhook's cursor and the newest event; 0 when it is live.
	Lag int
	// Retrying is the number of failed deliveries that will be retried.
	Retrying int
	// Dead is the number of deliveries that were given up.
	Dead int
}
