package ingest

import (
	"log/slog"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
)

// Warnings logs problems that many rows of the IAM can cause, at a limited rate. It may be used from any goroutine.
type Warnings struct {
	log *slog.Logger

	mu         sync.Mutex
	since      map[string]time.Time // when a key was last logged
	suppressed map[string]int       // how often it has not been logged since then
}

// NewWarnings returns Warnings that write to the log.
func NewWarnings(log *slog.Logger) *Warnings {
	return &Warnings{log: log, since: map[string]time.Time{}, suppressed: map[string]int{}}
}

// warnInterval is the shortest time between two warnings with the same key.
const warnInterval = 10 * time.Minute

// due reports whether to log a warning: at once if its key is new, then once per interval; never again if the interval is 0. It returns the
// attributes with the number of warnings suppressed since the last one.
func (w *Warnings) due(key string, interval time.Duration, args ...any) ([]any, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, known := w.since[key]; known && (interval == 0 || time.Since(last) < interval) {
		w.suppressed[key]++
		return nil, false
	}
	if n := w.suppressed[key]; n > 0 {
		args = append(args, "not_logged_before", n)
	}
	w.since[key], w.suppressed[key] = time.Now(), 0
	return args, true
}

// unresolvedEvent warns of an event without a tenant, which is stored and not delivered. There is one key per event name.
func (w *Warnings) unresolvedEvent(name string, args ...any) {
	if args, due := w.due("unresolved "+name, warnInterval, append([]any{"event", name}, args...)...); due {
		w.log.Warn("tenant of an event not found; the event is stored and delivered to nobody; check that parents in the mapping lead to the tenant table and that those rows exist", args...)
	}
}

// ConditionFailures returns a callback for the mapper. It counts every failure to compute a condition, and warns once per condition.
func (w *Warnings) ConditionFailures(metrics *admin.Metrics) func(mapping.ConditionFailure) {
	return func(f mapping.ConditionFailure) {
		metrics.ConditionFailed(f.Table)
		args, due := w.due("condition "+f.String(), 0, "file", f.File, "line", f.Line, "table", f.Table, "condition", f.Condition, "reason", f.Reason)
		if due {
			w.log.Warn("a condition of the mapping cannot be computed for a row and does not hold there; change the condition so that it has a value for every row (logged once per condition; counted in iam_relay_condition_failures_total)", args...)
		}
	}
}
