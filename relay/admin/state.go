package admin

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// slotStatuses are pg_replication_slots.wal_status, and missing for a slot that is not there.
// https://www.postgresql.org/docs/current/view-pg-replication-slots.html
var slotStatuses = []string{"reserved", "extended", "unreserved", "lost", "missing"}

// Standing is in one word how a relay stands.
type Standing string

const (
	Starting     Standing = "starting"     // it has not read the log yet
	Idle         Standing = "idle"         // all of the log is in the outbox, and there is nothing to read
	Streaming    Standing = "streaming"    // transactions come, and are in the outbox within seconds
	Behind       Standing = "behind"       // the end of the log is not reached
	Stuck        Standing = "stuck"        // the outbox takes nothing
	Disconnected Standing = "disconnected" // the source is away or refuses
	StandingBy   Standing = "standing by"  // another relay leads
	Lost         Standing = "lost"         // the slot is gone, or can never be read again
)

var standings = []Standing{Starting, Idle, Streaming, Behind, Stuck, Disconnected, StandingBy, Lost}

// State is how the relay stands at this moment. It is asked for at each scrape instead of being set now and then: a gauge
// that somebody must set goes stale exactly when what sets it has died.
type State struct {
	// Standing sums it up; empty while nothing is known.
	Standing Standing
	// Connected: the replication connection is up.
	Connected bool
	// Leader: this relay is the one that ingests.
	Leader bool
	// LagBytes is how far the acknowledged position is behind the server's end of the log, as the server last told it.
	LagBytes uint64
	// Through is the newest moment at which the log had no more than what is in the outbox now; zero while nothing is known.
	Through time.Time
	// Slot is nil while nothing is known of it.
	Slot *Slot
	// Held is the number of events that wait for what may cancel them.
	Held int
	// Withheld is the number of optional tables and columns that exist and count as absent.
	Withheld int
	// Webhooks has an entry for each webhook that exists. Names are unique.
	Webhooks []WebhookStats
}

// Slot is the replication slot as its server sees it.
type Slot struct {
	// Active: some relay is streaming from it.
	Active bool
	// Status is pg_replication_slots.wal_status, or missing.
	Status string
	// RetainedBytes is the log that the server keeps because of the slot.
	RetainedBytes uint64
	// LagBytes is the log that was not yet acknowledged.
	LagBytes uint64
	// SafeBytes is how much may still be written before the slot can be lost; -1 if that is unknown or without a limit.
	SafeBytes int64
}

// WebhookStats is how one webhook stands.
type WebhookStats struct {
	// Webhook is its name where the config gives one, else its id.
	Webhook string
	// Queue is the number of deliveries waiting in memory or being made.
	Queue int
	// Behind is by how many events of the log its cursor is behind the head; 0 when it is live.
	Behind int
	// Parked is the number of failed deliveries that wait for their next attempt.
	Parked int
	// Dead is the number of deliveries that were given up.
	Dead int
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	connectedDesc = describe("source_connected", "Whether the replication connection is up (1) or not (0).")
	leaderDesc    = describe("leader", "Whether this relay ingests (1) or stands by (0).")
	lagBytesDesc  = describe("replication_lag_bytes",
		"Bytes of log between the acknowledged position and the server's end of the log.")
	lagSecondsDesc = describe("replication_lag_seconds",
		"Seconds since all of the log, as it then was, is known to be in the outbox.")
	retainedDesc   = describe("slot_retained_wal_bytes", "Bytes of log that the server keeps because of the slot.")
	safeDesc       = describe("slot_safe_wal_bytes", "Bytes of log that may be written before the slot can be lost; absent without a limit.")
	standingDesc   = describe("state", "1 for how the relay stands, 0 for the other words.", "state")
	slotActiveDesc = describe("slot_active", "Whether some relay streams from the slot (1) or none (0).")
	slotStatusDesc = describe("slot_status", "1 for the slot's present wal_status, 0 for the others.", "status")
	heldDesc       = describe("held_events", "Events that wait for what may cancel them.")
	withheldDesc   = describe("optional_withheld",
		"Optional mapped tables and columns that exist and count as absent, because they are not granted or not published: iam-relay check names them.")
	queueDesc  = describe("webhook_queue", "Deliveries waiting in memory or being made.", "webhook")
	behindDesc = describe("webhook_behind", "Events of the log that a webhook which fell behind has yet to read.", "webhook")
	parkedDesc = describe("webhook_parked", "Failed deliveries that wait for their next attempt.", "webhook")
	deadDesc   = describe("webhook_dead", "Deliveries that were given up.", "webhook")
)

// stateCollector makes metrics of a State. A webhook that is gone from it is gone from the metrics.
type stateCollector func() State

func (stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		connectedDesc, leaderDesc, lagBytesDesc, lagSecondsDesc, standingDesc, retainedDesc, safeDesc, slotActiveDesc, slotStatusDesc,
		heldDesc, withheldDesc, queueDesc, behindDesc, parkedDesc, deadDesc,
	} {
		ch <- desc
	}
}

func (ask stateCollector) Collect(ch chan<- prometheus.Metric) {
	state := ask()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metric, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, value, labels...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(desc, err)
		}
		ch <- metric
	}
	gauge(connectedDesc, truth(state.Connected))
	gauge(leaderDesc, truth(state.Leader))
	if state.Standing != "" {
		for _, standing := range standings {
			gauge(standingDesc, truth(standing == state.Standing), string(standing))
		}
	}
	gauge(lagBytesDesc, float64(state.LagBytes))
	if !state.Through.IsZero() {
		gauge(lagSecondsDesc, max(time.Since(state.Through), 0).Seconds())
	}
	if slot := state.Slot; slot != nil {
		gauge(retainedDesc, float64(slot.RetainedBytes))
		if slot.SafeBytes >= 0 {
			gauge(safeDesc, float64(slot.SafeBytes))
		}
		gauge(slotActiveDesc, truth(slot.Active))
		for _, status := range slotStatuses {
			gauge(slotStatusDesc, truth(status == slot.Status), status)
		}
	}
	gauge(heldDesc, float64(state.Held))
	gauge(withheldDesc, float64(state.Withheld))
	for _, w := range state.Webhooks {
		gauge(queueDesc, float64(w.Queue), w.Webhook)
		gauge(behindDesc, float64(w.Behind), w.Webhook)
		gauge(parkedDesc, float64(w.Parked), w.Webhook)
		gauge(deadDesc, float64(w.Dead), w.Webhook)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// register adds to the registry what a Server serves besides the Metrics.
func register(c Config) error {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": c.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	add := []prometheus.Collector{
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	if c.State != nil {
		add = append(add, stateCollector(c.State))
	}
	for _, collector := range add {
		if err := c.Registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}
