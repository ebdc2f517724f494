package delivery

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

const (
	// recordAt is the number of attempts that are recorded at once, without waiting for recordEvery.
	recordAt = 1000
	// maxErrorText bounds what is stored of an attempt's error.
	maxErrorText = 4 << 10
)

// recorder collects outcomes for the outbox, which gets them in batches. Only one batch is written at a time, and one that failed is
// written again before the next.
type recorder struct {
	pending   outbox.Delivery
	recording *outbox.Delivery // the batch that is not known to be in the outbox
	full      chan struct{}    // receives when a batch should be written at once
	broken    chan error       // receives an error that ends the membership
}

func newRecorder() recorder {
	return recorder{full: make(chan struct{}, 1), broken: make(chan error, 1)}
}

func (r *recorder) attempt(webhookID, event int64, number int, began time.Time, o *webhook.Outcome) {
	a := outbox.Attempt{
		Event: event, Webhook: webhookID, Number: number, At: began, Duration: o.Duration, Class: string(o.Class), Status: o.Status,
		Response: string(o.Snippet), Phases: outbox.Phases(o.Phases),
	}
	if o.Err != nil {
		a.Error = errorText(o.Err)
	}
	r.pending.Attempts = append(r.pending.Attempts, a)
	if len(r.pending.Attempts) >= recordAt {
		r.wake()
	}
}

// wake has the next batch written at once.
func (r *recorder) wake() {
	select {
	case r.full <- struct{}{}:
	default:
	}
}

// unrecorded is the number of attempts whose outcome is not known to be in the outbox.
func (r *recorder) unrecorded() int {
	n := len(r.pending.Attempts)
	if r.recording != nil {
		n += len(r.recording.Attempts)
	}
	return n
}

// errorText returns an error as PostgreSQL's text type accepts it: it may quote bytes that a receiver has sent.
func errorText(err error) string {
	return strings.ReplaceAll(strings.ToValidUTF8(webhook.Truncate(err.Error(), maxErrorText), "\uFFFD"), "\x00", "\uFFFD")
}

// retry records a new retry, or a retry's next due time.
func (r *recorder) retry(p outbox.Retry) { r.pending.Retries = append(r.pending.Retries, p) }

// retryDone records that a retry is delivered, or not wanted any more.
func (r *recorder) retryDone(webhookID, event int64) {
	r.pending.RetriesDone = append(r.pending.RetriesDone, outbox.DeliveryKey{Event: event, Webhook: webhookID})
}

// retryReleased gives back a claimed retry unchanged.
func (r *recorder) retryReleased(webhookID, event int64) {
	r.pending.RetriesReleased = append(r.pending.RetriesReleased, outbox.DeliveryKey{Event: event, Webhook: webhookID})
}

func (r *recorder) disable(webhookID int64, d outbox.Disabling) {
	put(&r.pending.Disable, webhookID, d)
}

func (r *recorder) health(webhookID int64, h outbox.Health) { put(&r.pending.Health, webhookID, h) }

func (r *recorder) handshake(webhookID int64, accepted string) {
	put(&r.pending.Handshakes, webhookID, accepted)
}

func (r *recorder) operationalEvent(n outbox.OperationalEvent) {
	r.pending.OperationalEvents = append(r.pending.OperationalEvents, n)
}

func put[T any](m *map[int64]T, webhookID int64, v T) {
	if *m == nil {
		*m = map[int64]T{}
	}
	(*m)[webhookID] = v
}

// hasUnrecordedRetries reports whether the outbox does not know yet which deliveries are retries.
func (r *recorder) hasUnrecordedRetries() bool {
	return r.recording != nil || len(r.pending.Retries) > 0 || len(r.pending.RetriesDone) > 0
}

// fail ends the membership, because the outbox could not be read.
func (r *recorder) fail(err error) {
	select {
	case r.broken <- err:
	default:
	}
}

func (r *recorder) random() float64 { return rand.Float64() }

// batch returns the batch to write, or nil: the one that failed before, or else what has been collected, completed by complete.
func (r *recorder) batch(complete func(*outbox.Delivery) (changed bool)) *outbox.Delivery {
	if r.recording != nil {
		return r.recording
	}
	batch := r.pending
	r.pending = outbox.Delivery{}
	if changed := complete(&batch); !changed && isEmpty(&batch) {
		return nil
	}
	r.recording = &batch
	return &batch
}

// recorded notes that the batch is in the outbox.
func (r *recorder) recorded() { r.recording = nil }

func isEmpty(b *outbox.Delivery) bool {
	return len(b.Attempts) == 0 && len(b.Retries) == 0 && len(b.RetriesDone) == 0 && len(b.RetriesReleased) == 0 && len(b.Cursors) == 0 &&
		len(b.Health) == 0 && len(b.Handshakes) == 0 && len(b.Disable) == 0 && len(b.OperationalEvents) == 0
}
