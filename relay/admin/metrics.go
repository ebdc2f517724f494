package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/iam-relay/iam-relay/cdc"
)

const namespace = "iam_relay"

// latencyBuckets reach from a good delivery (a few milliseconds) to one that an operator must know of.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Metrics counts what happens. What is, rather than happens, is a State and is asked for at each scrape. All methods may be
// called concurrently.
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

// NewMetrics registers the relay's counters and histograms; it panics if the registry has them already. The outcome classes
// start at zero, so that the first failure of a kind is an increase that an alert can see.
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
			"Row changes of mapped tables committed to the outbox, by table and operation."), []string{"table", "op"}),
		events: auto.NewCounterVec(counter("events_total",
			"Events committed to the outbox, by name."), []string{"event"}),
		unresolved: auto.NewCounter(counter("events_unresolved_total",
			"Events whose tenant could not be resolved; they are kept and sent to nobody.")),
		conditions: auto.NewCounterVec(counter("condition_failures_total",
			"Evaluations of a mapping's conditions that had no value for a row, such as a division by zero, by table; the condition did not hold."), []string{"table"}),
		withoutBody: auto.NewCounter(counter("events_without_body_total",
			"Events whose body would be larger than outbox.max_body; they are kept without it and not delivered.")),
		deliveries: auto.NewCounterVec(counter("deliveries_total",
			"Delivery attempts, by outcome class."), []string{"class"}),
		deliveryDuration: auto.NewHistogram(seconds("delivery_duration_seconds",
			"Time that one delivery attempt took, whatever its outcome.")),
		commitToDelivery: auto.NewHistogram(seconds("commit_to_delivery_seconds",
			"Time from the commit in the source to the endpoint's 2xx, for deliveries that succeeded.")),
		commitToOutbox: auto.NewHistogram(seconds("commit_to_outbox_seconds",
			"Time from the commit in the source to the commit in the outbox.")),
		outboxCommit: auto.NewHistogram(seconds("outbox_commit_seconds",
			"Time that one outbox transaction took, from its first statement to its commit.")),
		clockOffset: auto.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "clock_offset_seconds",
			Help: "By how much the clock of a database server is ahead of this machine's, by server: source or outbox.",
		}, []string{"server"}),
	}
	for _, class := range classes {
		m.deliveries.WithLabelValues(class)
	}
	return m
}

// Transaction counts a source transaction that the outbox now holds; age is the time since it committed in the source.
func (m *Metrics) Transaction(age time.Duration) {
	m.transactions.Inc()
	observe(m.commitToOutbox, age)
}

// Changes counts n row changes of a mapped table.
func (m *Metrics) Changes(table string, op cdc.Op, n int) {
	m.changes.WithLabelValues(table, op.String()).Add(float64(n))
}

// Event counts an event that the outbox now holds; resolved is whether its tenant is known.
func (m *Metrics) Event(name string, resolved bool) {
	m.events.WithLabelValues(name).Inc()
	if !resolved {
		m.unresolved.Inc()
	}
}

// ConditionFailed counts an evaluation of a condition that had no value for a row of the table.
func (m *Metrics) ConditionFailed(table string) { m.conditions.WithLabelValues(table).Inc() }

// WithoutBody counts events that were recorded without their bodies.
func (m *Metrics) WithoutBody(n int) { m.withoutBody.Add(float64(n)) }

// ClockOffset is by how much a server's clock is ahead of this machine's.
func (m *Metrics) ClockOffset(server string, ahead time.Duration) {
	m.clockOffset.WithLabelValues(server).Set(ahead.Seconds())
}

// OutboxCommit records one transaction of the outbox.
func (m *Metrics) OutboxCommit(took time.Duration) { observe(m.outboxCommit, took) }

// Attempt records one delivery attempt. The class is one of a closed set.
func (m *Metrics) Attempt(class string, took time.Duration) {
	m.deliveries.WithLabelValues(class).Inc()
	observe(m.deliveryDuration, took)
}

// Delivered records that an endpoint accepted an event; age is the time since its commit in the source.
func (m *Metrics) Delivered(age time.Duration) { observe(m.commitToDelivery, age) }

// observe takes a negative duration, which two machines' clocks can make, for none.
func observe(h prometheus.Histogram, d time.Duration) { h.Observe(max(d, 0).Seconds()) }
