// Package wire is a network that fails: a TCP proxy whose connections can be frozen, as if a cable had been pulled while
// both machines run on, forgotten, as by a firewall, cut, and slowed down.
package wire

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Direction is a way through the wire, or both.
type Direction int

// Up is from the client, Down is back to it.
const (
	Up Direction = 1 << iota
	Down
	Both = Up | Down
)

// Pace is how a slow direction carries. The zero value is as fast as can be.
type Pace struct {
	Latency        time.Duration // of each piece that arrives at a time
	BytesPerSecond int           // 0 is no limit
}

// Counts are what has happened so far.
type Counts struct {
	Connections int   // that were carried
	Refused     int   // while the wire was cut, or because nothing listened behind it
	Reset       int   // by Cut
	Up, Down    int64 // bytes
}

// Wire is a running proxy.
type Wire struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed when what follows changes
	frozen  Direction
	cut     bool
	closed  bool
	pace    map[Direction]Pace
	links   map[*link]struct{}
	counts  Counts
}

// Start listens on a free port of 127.0.0.1 and leads to the address.
func Start(to string) (*Wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a wire: %w", err)
	}
	w := &Wire{listener: listener, to: to, changed: make(chan struct{}), pace: map[Direction]Pace{}, links: map[*link]struct{}{}}
	w.running.Go(w.accept)
	return w, nil
}

// Address is what to connect to instead.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// Counts returns the counts of this moment.
func (w *Wire) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// change changes the state and wakes everything that waits for it.
func (w *Wire) change(set func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Freeze lets nothing through in a direction, and closes nothing. New connections are accepted, and as silent.
func (w *Wire) Freeze(d Direction) { w.change(func() { w.frozen |= d }) }

// Thaw ends Freeze: what was kept back arrives.
func (w *Wire) Thaw() { w.change(func() { w.frozen = 0 }) }

// Strand makes the connections of this moment silent for ever, as a firewall does that has forgotten them. New ones work.
func (w *Wire) Strand() {
	w.change(func() {
		for l := range w.links {
			l.stranded = true
		}
	})
}

// Cut resets all connections, and each new one at once, until Restore.
func (w *Wire) Cut() {
	w.change(func() {
		w.cut = true
		w.counts.Reset += len(w.links)
		for l := range w.links {
			l.reset()
		}
	})
}

// Restore ends Cut.
func (w *Wire) Restore() { w.change(func() { w.cut = false }) }

// Slow sets how fast a direction is from now on; Pace{} makes it fast again.
func (w *Wire) Slow(d Direction, p Pace) {
	w.change(func() {
		for _, one := range []Direction{Up, Down} {
			if d&one != 0 {
				w.pace[one] = p
			}
		}
	})
}

// Close ends the proxy and all its connections.
func (w *Wire) Close() error {
	err := w.listener.Close()
	w.change(func() {
		w.closed = true
		for l := range w.links {
			l.close()
		}
	})
	w.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (w *Wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		w.running.Go(func() { w.connect(near.(*net.TCPConn)) })
	}
}

// connect carries a new connection until it ends.
func (w *Wire) connect(near *net.TCPConn) {
	l := &link{near: near, gone: make(chan struct{})}
	w.mu.Lock()
	refused := w.cut
	w.mu.Unlock()
	if !refused {
		far, err := net.Dial("tcp", w.to)
		if refused = err != nil; !refused {
			l.far = far.(*net.TCPConn)
		}
	}
	w.mu.Lock()
	if refused || w.cut || w.closed {
		w.counts.Refused++
		l.reset()
		w.mu.Unlock()
		return
	}
	w.links[l] = struct{}{}
	w.counts.Connections++
	w.mu.Unlock()

	var ways sync.WaitGroup
	ways.Go(func() { w.carry(l, Up, l.far, l.near) })
	ways.Go(func() { w.carry(l, Down, l.near, l.far) })
	ways.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.links, l)
	l.close()
}
