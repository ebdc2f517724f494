// Package wire is a network that fails: a TCP proxy whose connections can be frozen, as if a cable had been pulled while
// both machines run on.
package wire

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Wire is a running proxy.
type Wire struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu      sync.Mutex
	resumed chan struct{} // closed while bytes flow
	ends    map[net.Conn]struct{}
	closed  bool
}

// Start listens on a free port of 127.0.0.1 and leads to the address.
func Start(to string) (*Wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a wire: %w", err)
	}
	w := &Wire{listener: listener, to: to, resumed: make(chan struct{}), ends: map[net.Conn]struct{}{}}
	close(w.resumed)
	w.running.Go(w.accept)
	return w, nil
}

// Address is what to connect to instead.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// Freeze lets nothing through, in either direction, and closes nothing. New connections are accepted, and as silent.
func (w *Wire) Freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resumed = make(chan struct{})
}

// Close ends the proxy and all its connections.
func (w *Wire) Close() error {
	err := w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for end := range w.ends {
		end.Close()
	}
	select {
	case <-w.resumed:
	default:
		close(w.resumed)
	}
	w.mu.Unlock()
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
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			near.Close()
			continue
		}
		if !w.add(near, far) {
			return
		}
		w.running.Go(func() { w.carry(near, far) })
		w.running.Go(func() { w.carry(far, near) })
	}
}

func (w *Wire) add(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range ends {
		if w.closed {
			end.Close()
			continue
		}
		w.ends[end] = struct{}{}
	}
	return !w.closed
}

// carry copies until one end closes. What arrives while the wire is frozen is kept back, its end too.
func (w *Wire) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		flows := w.resumed
		w.mu.Unlock()
		<-flows
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
