package webhook

import (
	"net/http"
	"sync"
	"time"
)

// receiverClock is an estimate of a receiver's clock: the Date of its last response (RFC 9110, section 6.6.1).
//
// Receivers reject signatures whose timestamp is off by some minutes. This machine's clock and the outbox server's may differ by
// more, for example after a suspended machine resumes, and the relay cannot know which is right. It therefore signs with the one
// that is closer to the receiver's clock. The receiver can only choose between the two, not set any other time.
type receiverClock struct {
	mu   sync.Mutex
	date time.Time
	at   time.Time // when date arrived, with a monotonic reading
}

// receiverClocks has the clock of each host that was heard of. They outlive the targets, which are made again when an endpoint is
// defined again, and when the relay joins the group again after a failure of the outbox.
type receiverClocks struct {
	mu     sync.Mutex
	byHost map[string]*receiverClock
}

// maxReceiverClocks bounds the memory. A clock that is forgotten is known again after the next response.
const maxReceiverClocks = 10_000

func (c *receiverClocks) of(host string) *receiverClock {
	c.mu.Lock()
	defer c.mu.Unlock()
	if clock := c.byHost[host]; clock != nil {
		return clock
	}
	if len(c.byHost) >= maxReceiverClocks || c.byHost == nil {
		c.byHost = map[string]*receiverClock{}
	}
	clock := &receiverClock{}
	c.byHost[host] = clock
	return clock
}

// record stores the Date of a response.
func (c *receiverClock) record(header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.at = date, time.Now()
}

// maxClockDifference is the difference that every receiver accepts: a fifth of the usual tolerance of 5 minutes.
const maxClockDifference = time.Minute

// signingTime returns the outbox server's time, or this machine's if that is closer to the receiver's clock.
func (c *receiverClock) signingTime(local, server time.Time) time.Time {
	if server.IsZero() {
		return local
	}
	if server.Sub(local.Round(0)).Abs() < maxClockDifference {
		return server
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return server
	}
	receiver := c.date.Add(time.Since(c.at))
	if receiver.Sub(local.Round(0)).Abs() < receiver.Sub(server.Round(0)).Abs() {
		return local
	}
	return server
}
