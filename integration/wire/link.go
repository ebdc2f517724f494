package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// link is one connection through the wire.
type link struct {
	near, far *net.TCPConn // far is nil where it was refused
	stranded  bool         // guarded by the wire
	once      sync.Once
	gone      chan struct{} // closed with the link
}

func (l *link) close() {
	l.once.Do(func() { close(l.gone) })
	_ = l.near.Close()
	if l.far != nil {
		_ = l.far.Close()
	}
}

// reset closes without the parting words of TCP.
func (l *link) reset() {
	for _, end := range []*net.TCPConn{l.near, l.far} {
		if end != nil {
			_ = end.SetLinger(0) // It fails on a closed connection, which is past resetting.
		}
	}
	l.close()
}

// carry copies in one direction until its beginning ends. What arrives while the wire is frozen is kept back, an end too.
func (w *Wire) carry(l *link, d Direction, to, from *net.TCPConn) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if !w.pass(l, d, n) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				l.reset()
				return
			}
			w.count(d, n)
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite() // It fails where that end has gone as well.
			return
		case err != nil:
			l.reset()
			return
		}
	}
}

// pass waits until so many bytes, or an end, may go on. It reports false when the link has gone.
func (w *Wire) pass(l *link, d Direction, n int) bool {
	w.mu.Lock()
	for w.frozen&d != 0 || l.stranded {
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
		w.mu.Lock()
	}
	pace := w.pace[d]
	w.mu.Unlock()
	delay := pace.Latency
	if pace.BytesPerSecond > 0 {
		delay += time.Duration(n) * time.Second / time.Duration(pace.BytesPerSecond)
	}
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}

func (w *Wire) count(d Direction, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d == Up {
		w.counts.Up += int64(n)
	} else {
		w.counts.Down += int64(n)
	}
}
