package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/iam-relay/iam-relay/cdc"
)

const namespace = "iam_relay"

// latencyBuckets are in seconds: from a healthy delivery to one that needs attention.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Metrics holds the counters and histograms; Gauges holds the gauges. All methods are safe for concurrent use.
type Metrics struct {
	transactions     prometheus.Counter
	changes          *prometheus.CounterVec
	events           *prometheus.CounterVec
	unresolved       prometheus.Counter
	conditions       *prometheus.CounterVec
	withoutBody      prometheus.Counter
	deliveries       *prometheus.CounterVec
	deliveryDuration prometheus.Histogram
	commitToDelivery prometheus.Histogram
	commitToOutbox   prometheus.Histogram
	outboxCommit     prometheus.Histogram
	clockOffset      *prometheus.GaugeVec
}

// NewMetrics registers the relay's counters and histograms; it panics if the registry has them already. Every outcome class
// starts at zero, so that increase() in an alert sees the first failure.
func NewMetrics(reg prometheus.Registerer, classes ...string) *Metrics {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
	}
	seconds := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: latencyBuckets}
	}
	m := &Metrics{
		transactions: auto.NewCounter(counter("transactions_total",
			"Source transactions committed to the outbox.")),
		changes: auto.NewCounterVec(counter("changes_total",
			"Row changes in mapped tables committed to the outbox, by table and operation."), []string{"table", "op"}),
		events: auto.NewCounterVec(counter("events_total",
			"Events committed to the outbox, by name."), []string{"event"}),
		unresolved: auto.NewCounter(counter("events_without_tenant_total",
			"Events whose tenant could not be determined; they are stored but not delivered.")),
		conditions: auto.NewCounterVec(counter("condition_failures_total",
			"Evaluations of mapping conditions that failed for a row, such as a division by zero, by table; the condition counts as false."), []string{"table"}),
		withoutBody: auto.NewCounter(counter("events_without_body_total",
			"Events whose body would exceed outbox.max_body; they are stored without a body and not delivered.")),
		deliveries: auto.NewCounterVec(counter("delivery_attempts_total",
			"Delivery attempts, by outcome class."), []string{"class"}),
		deliveryDuration: auto.NewHistogram(seconds("delivery_attempt_duration_seconds",
			"Duration of a delivery attempt, successful or not.")),
		commitToDelivery: auto.NewHistogram(seconds("commit_to_delivery_seconds",
			"Time from the commit in the source to the 2xx response of the endpoint.")),
		commitToOutbox: auto.NewHistogram(seconds("commit_to_outbox_seconds",
			"Time from the commit in the source to the commit in the outbox.")),
		outboxCommit: auto.NewHistogram(seconds("outbox_commit_seconds",
			"Duration of an outbox transaction, from its first statement to its commit.")),
		clockOffset: auto.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "clock_offset_seconds",
			Help: "How far the clock of a database server is ahead of the relay's own, by server (source or outbox).",
		}, []string{"server"}),
	}
	for _, class := range classes {
		m.deliveries.WithLabelValues(class)
	}
	return m
}

// Transaction counts a source transaction that was committed to the outbox; age is the time since its commit in the source.
func (m *Metrics) Transaction(age time.Duration) {
	m.transactions.Inc()
	observe(m.commitToOutbox, age)
}

// Changes counts n row changes of a mapped table.
func (m *Metrics) Changes(table string, op cdc.Op, n int) {
	m.changes.WithLabelValues(table, op.String()).Add(float64(n))
}

// Event counts an event that was committed to the outbox; resolved reports whether its tenant is known.
func (m *Metrics) Event(name string, resolved bool) {
	m.events.WithLabelValues(name).Inc()
	if !resolved {
		m.unresolved.Inc()
	}
}

// ConditionFailed counts a condition that could not be evaluated for a row of the table.
func (m *Metrics) ConditionFailed(table string) { m.conditions.WithLabelValues(table).Inc() }

// WithoutBody counts events that were stored without a body because it would be too large.
func (m *Metrics) WithoutBody(n int) { m.withoutBody.Add(float64(n)) }

// ClockOffset sets how far a server's clock is ahead of this machine's.
func (m *Metrics) ClockOffset(server string, ahead time.Duration) {
	m.clockOffset.WithLabelValues(server).Set(ahead.Seconds())
}

// OutboxCommit records the duration of one outbox transaction.
func (m *Metrics) OutboxCommit(took time.Duration) { observe(m.outboxCommit, took) }

// Attempt records one delivery attempt. The class must be one that NewMetrics was given.
func (m *Metrics) Attempt(class string, took time.Duration) {
	m.deliveries.WithLabelValues(class).Inc()
	observe(m.deliveryDuration, took)
}

// Delivered records that an endpoint accepted an event; age is the time since its commit in the source.
func (m *Metrics) Delivered(age time.Duration) { observe(m.commitToDelivery, age) }

// observe counts a negative duration, which results from two differing clocks, as zero.
func observe(h prometheus.Histogram, d time.Duration) { h.Observe(max(d, 0).Seconds()) }
