package webhook

import (
	"net/http"
	"sync"
	"time"
)

// receiverClock is what a receiver's clock is known to say: the Date of its last answer (RFC 9110, section 6.6.1).
//
// Receivers refuse signatures whose timestamp is some minutes off. This machine's clock and that of the outbox's server may
// disagree by more, after one of them was set or resumed, and nothing here says which one is right. The receiver is asked
// implicitly: of the two, the one that is closer to its own clock signs. It chooses between them and can name no third time.
type receiverClock struct {
	mu   sync.Mutex
	date time.Time
	at   time.Time // when it came, with its monotonic reading
}

// note reads the Date of an answer.
func (c *receiverClock) note(header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.at = date, time.Now()
}

// clocksAgree is by how much two clocks may differ without a receiver minding: a fifth of the tolerance that is customary.
const clocksAgree = time.Minute

// choose returns the time to sign with: that of the outbox's server, unless the receiver's clock is closer to this machine's.
func (c *receiverClock) choose(local, server time.Time) time.Time {
	if server.IsZero() {
		return local
	}
	if server.Sub(local.Round(0)).Abs() < clocksAgree {
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
