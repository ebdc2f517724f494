// Package monitor derives the state of the relay for /readyz, the metrics, the console and `iam-relay status`. The stages before it
// (replication, ingest) and the relay's membership report to it what happens to them; WatchSlot adds what the source server says of the
// slot. Package admin, after it, serves the result.
package monitor

import (
	"fmt"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Monitor collects what the other parts of the relay report. Its methods may be called from any goroutine.
type Monitor struct {
	mu         sync.Mutex
	leader     *outbox.Leader // nil while this relay does not lead
	standby    bool           // another relay leads
	deliveries deliveries     // nil until this relay delivers
	source     walSource      // nil while this relay does not stream
	streamed   bool           // it has streamed before
	stored     cdc.LSN        // the position in the outbox
	// ingestedThrough is the time, by this machine's clock, whose WAL is in the outbox as a whole.
	ingestedThrough time.Time
	streamStarted   time.Time
	lastIngested    time.Time                   // when a transaction last came
	target          walEnd                      // a past end of the WAL that ingestion has not reached; zero if there is none
	delayed         int                         // events that wait for what may cancel them
	slot            *admin.Slot                 // nil while the source server cannot be asked
	lockWait        *outbox.LockWait            // what a commit waits for, as of the last poll; nil if it does not wait
	hazards         []cdc.PublicationHazard     // publications that make the application's statements fail
	withheld        []cdc.Problem               // optional tables and columns that exist but are treated as absent
	retries         map[int64]outbox.RetryCount // by webhook id; nil while unknown

	// Streaming is closed when this relay streams for the first time.
	Streaming     chan struct{}
	onceStreaming sync.Once

	outboxErr, sourceErr error
	snapshotWait         string // what the table snapshot waits for; empty if it does not wait

	failures ingestFailures
}

// walSource is the part of *cdc.Source that shows whether the replication connection is alive.
type walSource interface {
	LastMessage() time.Time // zero before the first message
	Received() cdc.LSN      // the end of what the server has sent
}

// ingestFailures counts consecutive failures to ingest what follows one position.
type ingestFailures struct {
	after cdc.LSN
	n     int
	last  time.Time
	err   error
}

// repeated reports whether a retry has failed as well, so that it is not a short failure of the outbox.
func (f *ingestFailures) repeated() bool { return f.n > 1 }

func (f *ingestFailures) String() string {
	return fmt.Sprintf("ingestion has failed %d times after %s: %v", f.n, f.after, f.err)
}

// IngestFailed records that what follows the stored position could not be ingested. It returns the number of consecutive failures there.
func (m *Monitor) IngestFailed(err error) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures.n == 0 || m.stored > m.failures.after {
		m.failures = ingestFailures{after: m.stored}
	}
	m.failures.n, m.failures.last, m.failures.err = m.failures.n+1, time.Now(), err
	return m.failures.n
}

// walEnd is the end of the source's WAL at a time by this machine's clock.
type walEnd struct {
	lsn cdc.LSN
	at  time.Time
}

// New returns a Monitor in the state "starting".
func New() *Monitor { return &Monitor{Streaming: make(chan struct{})} }

// deliveries gives the state and the counts of each webhook, for the metrics.
type deliveries interface {
	Stats(retries map[int64]outbox.RetryCount) []admin.WebhookStats
}

// SetDeliveries sets what reports on the webhooks; it is called when this relay joins the group.
func (m *Monitor) SetDeliveries(d deliveries) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deliveries = d
}

// SetLeader records that this relay leads, or, with nil, that its membership has ended.
func (m *Monitor) SetLeader(l *outbox.Leader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader, m.standby = l, false
	if l == nil {
		m.source, m.hazards, m.withheld = nil, nil, nil
	} else {
		m.outboxErr = nil
	}
}

// SetStandby records that another relay leads.
func (m *Monitor) SetStandby() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standby, m.outboxErr = true, nil
}

// SetStreaming records the start of a stream from the stored position, with the number of delayed events.
func (m *Monitor) SetStreaming(s *cdc.Source, stored cdc.LSN, delayed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.stored, m.delayed, m.sourceErr = s, stored, delayed, nil
	m.streamStarted, m.target, m.streamed = time.Now(), walEnd{}, true
	m.onceStreaming.Do(func() { close(m.Streaming) })
}

// SetWithheld sets which optional tables and columns exist but are treated as absent.
func (m *Monitor) SetWithheld(problems []cdc.Problem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.withheld = problems
}

// SetHazards sets which publications make the application's statements fail.
func (m *Monitor) SetHazards(hazards []cdc.PublicationHazard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hazards = hazards
}

// SourceFailed records why a session with the source ended.
func (m *Monitor) SourceFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.sourceErr = nil, err
}

// SetWaiting sets what the table snapshot waits for, with its remedy; empty if it does not wait.
func (m *Monitor) SetWaiting(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshotWait = text
}

// OutboxFailed records why a membership ended. It holds until this relay leads again, or learns that another one does.
func (m *Monitor) OutboxFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outboxErr = err
}

// Ingested records a commit to the outbox up to end, and the number of delayed events after it.
func (m *Monitor) Ingested(end cdc.LSN, delayed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end > m.stored { // otherwise only the position of an idle source was stored
		m.lastIngested = time.Now()
		m.failures = ingestFailures{}
	}
	m.stored, m.delayed = end, delayed
	m.updateProgress()
}

// Idle records that all WAL before lsn has been ingested, although no commit has stored that position.
func (m *Monitor) Idle(lsn cdc.LSN) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.failures.last) > catchingUpAfter { // otherwise lsn may be from before the change that fails
		m.stored, m.failures = max(m.stored, lsn), ingestFailures{}
	}
	m.updateProgress()
}

// observeEnd records the present end of the WAL. A target that is not reached yet stays; otherwise a relay that never reaches the end
// would not be seen to lag. m.mu is held.
func (m *Monitor) observeEnd(lsn cdc.LSN) {
	if m.target.at.IsZero() {
		m.target = walEnd{lsn, time.Now()}
	}
	m.updateProgress()
}

// updateProgress advances ingestedThrough. Without a target, the end of what the server has sent counts as the end of its WAL. m.mu is
// held.
func (m *Monitor) updateProgress() {
	switch {
	case m.source == nil:
	case !m.target.at.IsZero():
		if m.stored >= m.target.lsn {
			m.ingestedThrough, m.target = m.target.at, walEnd{}
		}
	case m.stored >= m.source.Received():
		m.ingestedThrough = time.Now()
	}
}
