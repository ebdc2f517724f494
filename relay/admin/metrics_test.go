package admin

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/iam-relay/iam-relay/cdc"
)

// scrape returns the relay's own samples as "name{labels} value", without their prefix and without buckets.
func scrape(t *testing.T, url string) []string {
	t.Helper()
	status, body, _ := get(t, url+"/metrics")
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	var samples []string
	for line := range strings.Lines(body) {
		sample, own := strings.CutPrefix(strings.TrimSpace(line), "iam_relay_")
		if own && !strings.Contains(sample, "_bucket{") && !strings.HasPrefix(sample, "build_info") {
			samples = append(samples, sample)
		}
	}
	return samples
}

func TestMetrics_Counters(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry, "delivered", "timeout")
	url := start(t, Config{Registry: registry})

	metrics.Transaction(250 * time.Millisecond)
	metrics.Transaction(-time.Second) // the source's clock is ahead of ours
	metrics.Changes("users", cdc.Insert, 3)
	metrics.Changes("users", cdc.Delete, 1)
	metrics.Event("user.created", true)
	metrics.Event("user.created", false)
	metrics.WithoutBody(3)
	metrics.OutboxCommit(500 * time.Millisecond)
	metrics.Attempt("delivered", 125*time.Millisecond)
	metrics.Delivered(2 * time.Second)

	want := []string{
		`changes_total{op="delete",table="users"} 1`,
		`changes_total{op="insert",table="users"} 3`,
		`commit_to_delivery_seconds_sum 2`,
		`commit_to_delivery_seconds_count 1`,
		`commit_to_outbox_seconds_sum 0.25`,
		`commit_to_outbox_seconds_count 2`,
		`delivery_attempt_duration_seconds_sum 0.125`,
		`delivery_attempt_duration_seconds_count 1`,
		`delivery_attempts_total{class="delivered"} 1`,
		`delivery_attempts_total{class="timeout"} 0`,
		`events_total{event="user.created"} 2`,
		`events_without_body_total 3`,
		`events_without_tenant_total 1`,
		`outbox_commit_seconds_sum 0.5`,
		`outbox_commit_seconds_count 1`,
		`transactions_total 2`,
	}
	if diff := cmp.Diff(want, scrape(t, url)); diff != "" {
		t.Error(diff)
	}
}

func TestGauges_AreReadAtEachScrape(t *testing.T) {
	t.Parallel()
	var state atomic.Pointer[Gauges]
	url := start(t, Config{Gauges: func() Gauges { return *state.Load() }})

	state.Store(&Gauges{
		Connected: true, Leader: true, LagBytes: 4096, Delayed: 2, Inaccessible: 5, Hazards: 6,
		Slot: &Slot{Active: true, Status: "extended", RetainedBytes: 1 << 20, SafeBytes: 512}, State: Stuck,
		Webhooks: []WebhookStats{
			{Webhook: "audit", Queued: 1, Lag: 2, Retrying: 3, Dead: 4},
			{Webhook: "crm"},
		},
	})
	want := []string{
		`delayed_events 2`,
		`leader 1`,
		`optional_inaccessible 5`,
		`publication_hazards 6`,
		`replication_lag_bytes 4096`,
		`slot_active 1`,
		`slot_retained_wal_bytes 1.048576e+06`,
		`slot_safe_wal_bytes 512`,
		`slot_status{status="extended"} 1`,
		`slot_status{status="lost"} 0`,
		`slot_status{status="missing"} 0`,
		`slot_status{status="reserved"} 0`,
		`slot_status{status="unreserved"} 0`,
		`source_connected 1`,
		`state{state="catching up"} 0`,
		`state{state="disconnected"} 0`,
		`state{state="idle"} 0`,
		`state{state="lost"} 0`,
		`state{state="standby"} 0`,
		`state{state="starting"} 0`,
		`state{state="streaming"} 0`,
		`state{state="stuck"} 1`,
		`webhook_dead_deliveries{webhook="audit"} 4`,
		`webhook_dead_deliveries{webhook="crm"} 0`,
		`webhook_lag_events{webhook="audit"} 2`,
		`webhook_lag_events{webhook="crm"} 0`,
		`webhook_queued_deliveries{webhook="audit"} 1`,
		`webhook_queued_deliveries{webhook="crm"} 0`,
		`webhook_retrying_deliveries{webhook="audit"} 3`,
		`webhook_retrying_deliveries{webhook="crm"} 0`,
	}
	if diff := cmp.Diff(want, scrape(t, url)); diff != "" {
		t.Error(diff)
	}

	// Unknown values are absent, and so is a removed webhook.
	state.Store(&Gauges{Webhooks: []WebhookStats{{Webhook: "crm", Retrying: 7}}})
	want = []string{
		`delayed_events 0`,
		`leader 0`,
		`optional_inaccessible 0`,
		`publication_hazards 0`,
		`replication_lag_bytes 0`,
		`source_connected 0`,
		`webhook_dead_deliveries{webhook="crm"} 0`,
		`webhook_lag_events{webhook="crm"} 0`,
		`webhook_queued_deliveries{webhook="crm"} 0`,
		`webhook_retrying_deliveries{webhook="crm"} 7`,
	}
	if diff := cmp.Diff(want, scrape(t, url)); diff != "" {
		t.Error(diff)
	}
}

func TestGauges_LagGrowsWithoutServerMessages(t *testing.T) {
	t.Parallel()
	through := time.Now().Add(-time.Hour)
	url := start(t, Config{Gauges: func() Gauges { return Gauges{Through: through} }})
	samples := scrape(t, url)
	if !slices.ContainsFunc(samples, func(s string) bool { return strings.HasPrefix(s, "replication_lag_seconds 36") }) {
		t.Errorf("no lag of an hour in %q", samples)
	}
}

// Two webhooks with the same name are the caller's bug; the scrape still serves all other metrics.
func TestMetrics_InvalidMetricDoesNotHideOthers(t *testing.T) {
	t.Parallel()
	url := start(t, Config{Gauges: func() Gauges {
		return Gauges{Leader: true, Webhooks: []WebhookStats{{Webhook: "audit"}, {Webhook: "audit"}}}
	}})
	if samples := scrape(t, url); !slices.Contains(samples, "leader 1") {
		t.Errorf("leader is missing from %q", samples)
	}
}

// Names and help texts follow the conventions of Prometheus, as promtool checks them.
func TestMetrics_NamesAndHelp(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry, "delivered")
	metrics.Changes("users", cdc.Insert, 1)
	metrics.Event("user.created", true)
	metrics.ConditionFailed("users")
	metrics.ClockOffset("source", time.Second)
	url := start(t, Config{Registry: registry, Gauges: func() Gauges {
		return Gauges{State: Idle, Through: time.Now(), Slot: &Slot{Status: "reserved"}, Webhooks: []WebhookStats{{Webhook: "crm"}}}
	}})
	_, body, _ := get(t, url+"/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "iam_relay_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestMetrics_BuildInfo(t *testing.T) {
	t.Parallel()
	url := start(t, Config{Version: "v1.2.3"})
	_, body, _ := get(t, url+"/metrics")
	for _, part := range []string{`version="v1.2.3"`, "process_resident_memory_bytes", "go_goroutines"} {
		if !strings.Contains(body, part) {
			t.Errorf("/metrics does not contain %s", part)
		}
	}
}
