package monitor

import (
	"fmt"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// monitor knows how the relay stands: for readiness, metrics and the log.
type Monitor struct {
	mu         sync.Mutex
	leader     *outbox.Leader // nil while another relay leads, or none
	standby    bool
	deliveries deliveries  // nil until this relay delivers
	source     *cdc.Source // nil while no log is read
	durable    cdc.LSN
	// through: all that was in the log at this moment, by this machine's clock, is in the outbox. mark is a place in the log
	// to be reached, and when it was the log's end; since is when this stream has begun, worked when it last brought something.
	through, since, worked time.Time
	mark                   walEnd
	streamed               bool // ever
	held                   int
	slot                   *admin.Slot
	wait                   *outbox.LockWait // what a commit waits for, as of the last poll
	withheld               int              // optional tables and columns that exist and count as absent
	parked                 map[int64]outbox.RetryCount

	Streaming     chan struct{} // closed once a log is read for the first time
	onceStreaming sync.Once

	outboxErr, sourceErr error
	waiting              string // for whose transaction reading the tables waits; empty if it does not

	failing ingestFailures
}

// failing is a row of failures to ingest what comes after one position.
type ingestFailures struct {
	after cdc.LSN
	n     int
	last  time.Time
	err   error
}

// repeated: what fails is not passing trouble of the outbox, or that lasts.
func (f *ingestFailures) repeated() bool { return f.n > 1 }

func (f *ingestFailures) String() string {
	return fmt.Sprintf("ingestion has failed %d times after %s: %v", f.n, f.after, f.err)
}

// ingestFailed notes that what comes after the stored position could not be ingested. It returns how often in a row.
func (m *Monitor) IngestFailed(err error) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing.n == 0 || m.durable > m.failing.after {
		m.failing = ingestFailures{after: m.durable}
	}
	m.failing.n, m.failing.last, m.failing.err = m.failing.n+1, time.Now(), err
	return m.failing.n
}

// mark is the end of the source's log at a moment.
type walEnd struct {
	lsn cdc.LSN
	at  time.Time
}

func New() *Monitor { return &Monitor{Streaming: make(chan struct{})} }

// deliveries tells how each webhook is doing, for the metrics.
type deliveries interface {
	Stats(retries map[int64]outbox.RetryCount) []admin.WebhookStats
}

// works: the relay shares in delivering.
func (m *Monitor) SetDeliveries(d deliveries) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deliveries = d
}

func (m *Monitor) SetLeader(l *outbox.Leader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader, m.standby = l, false
	if l == nil {
		m.source = nil
	} else {
		m.outboxErr = nil
	}
}

func (m *Monitor) SetStandby() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standby, m.outboxErr = true, nil
}

func (m *Monitor) SetStreaming(s *cdc.Source, stored cdc.LSN, held int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.durable, m.held, m.sourceErr = s, stored, held, nil
	m.since, m.mark, m.streamed = time.Now(), walEnd{}, true
	m.onceStreaming.Do(func() { close(m.Streaming) })
}

// withholds: so many optional tables and columns exist and count as absent.
func (m *Monitor) SetWithheld(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.withheld = n
}

func (m *Monitor) SourceFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.sourceErr = nil, err
}

// waitsFor: reading the tables has to wait; empty: no longer.
func (m *Monitor) SetWaiting(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = text
}

func (m *Monitor) OutboxFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outboxErr = err
}

func (m *Monitor) Ingested(end cdc.LSN, held int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end > m.durable { // else an idle source's position was stored
		m.worked = time.Now()
		m.failing = ingestFailures{}
	}
	m.durable, m.held = end, held
	m.reached()
}

// idle: everything before lsn has been handed over, and nothing of it is pending.
func (m *Monitor) Idle(lsn cdc.LSN) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.failing.last) > behindAfter { // else it may be the news from before the change that fails
		m.durable, m.failing = max(m.durable, lsn), ingestFailures{}
	}
	m.reached()
}

// ends: the log ends there at this moment. A mark that was not reached yet stays: else a relay that never gets to the end
// would never be seen to trail it.
func (m *Monitor) ends(lsn cdc.LSN) {
	if m.mark.at.IsZero() {
		m.mark = walEnd{lsn, time.Now()}
	}
	m.reached()
}

// reached moves through on. What the server has sent is not the end of its log while there is a mark before us.
func (m *Monitor) reached() {
	switch {
	case m.source == nil:
	case !m.mark.at.IsZero():
		if m.durable >= m.mark.lsn {
			m.through, m.mark = m.mark.at, walEnd{}
		}
	case m.durable >= m.source.Received():
		m.through = time.Now()
	}
}

// silence is how long the server may say nothing before the replication is taken for dead. It speaks at least every half of
// wal_sender_timeout.
const silence = 30 * time.Second

// slotPoll is how often the servers are asked about the slot and about what the outbox waits for, and parkedPoll at how many of
// these times the store is asked about parked deliveries, which takes it longer.
const (
	slotPoll   = 5 * time.Second
	parkedPoll = 2
)
