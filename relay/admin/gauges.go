package admin

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// slotStatuses are the values of pg_replication_slots.wal_status, and missing for a slot that does not exist:
// https://www.postgresql.org/docs/current/view-pg-replication-slots.html
var slotStatuses = []string{"reserved", "extended", "unreserved", "lost", "missing"}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	connectedDesc    = describe("source_connected", "Whether the replication connection is up (1) or not (0).")
	leaderDesc       = describe("leader", "Whether this relay leads and ingests (1) or is a standby (0).")
	lagBytesDesc     = describe("replication_lag_bytes", "Bytes of WAL between the acknowledged position and the end of the server's WAL.")
	lagSecondsDesc   = describe("replication_lag_seconds", "Seconds since the outbox was last known to hold everything committed in the source.")
	retainedDesc     = describe("slot_retained_wal_bytes", "Bytes of WAL that the server retains for the replication slot.")
	safeDesc         = describe("slot_safe_wal_bytes", "Bytes of WAL that can be written before the slot may be lost; absent without max_slot_wal_keep_size.")
	stateDesc        = describe("state", "1 for the current state of the relay, 0 for all others.", "state")
	slotActiveDesc   = describe("slot_active", "Whether a relay streams from the slot (1) or not (0).")
	slotStatusDesc   = describe("slot_status", "1 for the current wal_status of the slot, 0 for all others.", "status")
	delayedDesc      = describe("delayed_events", "Events that are delayed because a later change may cancel them (unless_followed).")
	inaccessibleDesc = describe("optional_inaccessible",
		"Optional mapped tables and columns that exist but are not granted or not published; iam-relay check lists them.")
	hazardsDesc   = describe("publication_hazards", "Tables on which a publication makes UPDATE or DELETE of the application fail; iam-relay check lists them.")
	queuedDesc    = describe("webhook_queued_deliveries", "Deliveries queued in memory or in flight.", "webhook")
	lagEventsDesc = describe("webhook_lag_events", "Events that a catching-up webhook has yet to read from the outbox.", "webhook")
	retryingDesc  = describe("webhook_retrying_deliveries", "Failed deliveries that will be retried.", "webhook")
	deadDesc      = describe("webhook_dead_deliveries", "Deliveries that were given up and are kept for manual retry.", "webhook")
)

// gaugeCollector converts Gauges to metrics at each scrape. A removed webhook disappears from the metrics.
type gaugeCollector func() Gauges

func (gaugeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		connectedDesc, leaderDesc, lagBytesDesc, lagSecondsDesc, stateDesc, retainedDesc, safeDesc, slotActiveDesc, slotStatusDesc,
		delayedDesc, inaccessibleDesc, hazardsDesc, queuedDesc, lagEventsDesc, retryingDesc, deadDesc,
	} {
		ch <- desc
	}
}

func (read gaugeCollector) Collect(ch chan<- prometheus.Metric) {
	g := read()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metric, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, value, labels...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(desc, err)
		}
		ch <- metric
	}
	gauge(connectedDesc, boolValue(g.Connected))
	gauge(leaderDesc, boolValue(g.Leader))
	if g.State != "" {
		for _, s := range states {
			gauge(stateDesc, boolValue(s == g.State), string(s))
		}
	}
	gauge(lagBytesDesc, float64(g.LagBytes))
	if !g.Through.IsZero() {
		gauge(lagSecondsDesc, max(time.Since(g.Through), 0).Seconds())
	}
	if slot := g.Slot; slot != nil {
		gauge(retainedDesc, float64(slot.RetainedBytes))
		if slot.SafeBytes >= 0 {
			gauge(safeDesc, float64(slot.SafeBytes))
		}
		gauge(slotActiveDesc, boolValue(slot.Active))
		for _, status := range slotStatuses {
			gauge(slotStatusDesc, boolValue(status == slot.Status), status)
		}
	}
	gauge(delayedDesc, float64(g.Delayed))
	gauge(inaccessibleDesc, float64(g.Inaccessible))
	gauge(hazardsDesc, float64(g.Hazards))
	for _, w := range g.Webhooks {
		gauge(queuedDesc, float64(w.Queued), w.Webhook)
		gauge(lagEventsDesc, float64(w.Lag), w.Webhook)
		gauge(retryingDesc, float64(w.Retrying), w.Webhook)
		gauge(deadDesc, float64(w.Dead), w.Webhook)
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// register adds the metrics that a Server serves besides Metrics.
func register(c Config) error {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels are the versions of the relay and of Go.",
		ConstLabels: prometheus.Labels{"version": c.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	add := []prometheus.Collector{
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	if c.Gauges != nil {
		add = append(add, gaugeCollector(c.Gauges))
	}
	for _, collector := range add {
		if err := c.Registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}
