package ingest

import (
	"log/slog"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
)

// warnings logs what rows of the IAM can cause again and again, without letting them flood the log.
type Warnings struct {
	log *slog.Logger

	mu    sync.Mutex
	since map[string]time.Time // when a key was last logged
	left  map[string]int       // how often it was not logged since
}

func NewWarnings(log *slog.Logger) *Warnings {
	return &Warnings{log: log, since: map[string]time.Time{}, left: map[string]int{}}
}

// warnInterval is the shortest time between two warnings of one key.
const warnInterval = 10 * time.Minute

// due reports whether a warning is to be logged: at once when its key is new, then after the interval; never again for an interval of 0.
// The attributes that it returns begin with those given and say how many warnings were left out since the last one.
func (w *Warnings) due(key string, interval time.Duration, args ...any) ([]any, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, known := w.since[key]; known && (interval == 0 || time.Since(last) < interval) {
		w.left[key]++
		return nil, false
	}
	if left := w.left[key]; left > 0 {
		args = append(args, "not_logged_before", left)
	}
	w.since[key], w.left[key] = time.Now(), 0
	return args, true
}

// unresolvedEvent warns of an event that is kept and sent to nobody. The names of events are few.
func (w *Warnings) unresolvedEvent(name string, args ...any) {
	if args, due := w.due("unresolved "+name, warnInterval, append([]any{"event", name}, args...)...); due {
		w.log.Warn("tenant of an event not found; the event is stored and delivered to nobody; check that parents in the mapping lead to the tenant table and that those rows exist", args...)
	}
}

// conditionFailures counts each condition that cannot be computed for a row, and warns once per condition.
func (w *Warnings) ConditionFailures(metrics *admin.Metrics) func(mapping.ConditionFailure) {
	return func(f mapping.ConditionFailure) {
		metrics.ConditionFailed(f.Table)
		args, due := w.due("condition "+f.String(), 0, "file", f.File, "line", f.Line, "table", f.Table, "condition", f.Condition, "reason", f.Reason)
		if due {
			w.log.Warn("a condition of the mapping cannot be computed for a row and does not hold there; change the condition so that it has a value for every row (logged once per condition; counted in iam_relay_condition_failures_total)", args...)
		}
	}
}
