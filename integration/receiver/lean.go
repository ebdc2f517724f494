package receiver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Lean is a receiver for benchmarks: it reads requests, counts them and answers 204, with as little of a processor as that
// can be done. It checks nothing, and closes a connection whose requests it does not understand.
type Lean struct {
	listener net.Listener
	running  sync.WaitGroup
	count    atomic.Int64
	target   atomic.Int64
	reached  chan struct{}

	mu          sync.Mutex
	closed      bool
	connections map[net.Conn]struct{}

	answer []byte
	delay  time.Duration
	hang   bool
}

// LeanAnswer is how a Lean answers. The zero value is 204 at once.
type LeanAnswer struct {
	Status int           // 0 means 204
	Delay  time.Duration // before each answer
	Hang   bool          // never answers; the request counts
}

// StartLean listens on a free port of 127.0.0.1 and serves until Close.
func StartLean(a LeanAnswer) (*Lean, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a lean webhook receiver: %w", err)
	}
	l := &Lean{listener: listener, reached: make(chan struct{}, 1), connections: map[net.Conn]struct{}{}, delay: a.Delay, hang: a.Hang}
	l.answer = []byte("HTTP/1.1 204 No Content\r\n\r\n")
	if a.Status != 0 {
		l.answer = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", a.Status, http.StatusText(a.Status))
	}
	l.running.Go(l.accept)
	return l, nil
}

// URL is the address to send to.
func (l *Lean) URL() string { return "http://" + l.listener.Addr().String() + "/" }

// Count is how many requests have arrived whole.
func (l *Lean) Count() int64 { return l.count.Load() }

// Wait returns when so many requests have arrived since the start. Only one Wait may be going on.
func (l *Lean) Wait(ctx context.Context, requests int64) error {
	l.target.Store(requests)
	// The signal may be one that an earlier Wait has not taken.
	for l.count.Load() < requests {
		select {
		case <-l.reached:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d requests: %w after %d", requests, context.Cause(ctx), l.Count())
		}
	}
	return nil
}

// Close ends the receiver and its connections.
func (l *Lean) Close() error {
	err := l.listener.Close()
	l.mu.Lock()
	l.closed = true
	for connection := range l.connections {
		connection.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
	return err
}

func (l *Lean) accept() {
	for {
		connection, err := l.listener.Accept()
		if err != nil {
			return // Closed.
		}
		l.mu.Lock()
		if l.closed {
			connection.Close()
		} else {
			l.connections[connection] = struct{}{}
			l.running.Go(func() { l.serve(connection) })
		}
		l.mu.Unlock()
	}
}

func (l *Lean) serve(connection net.Conn) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.connections, connection)
		connection.Close()
	}()
	in := bufio.NewReaderSize(connection, 32<<10)
	for readRequest(in) {
		if l.count.Add(1) == l.target.Load() {
			select {
			case l.reached <- struct{}{}:
			default: // It is known already.
			}
		}
		if l.hang {
			continue
		}
		if l.delay > 0 {
			time.Sleep(l.delay) // a slow receiver
		}
		if _, err := connection.Write(l.answer); err != nil {
			return
		}
	}
}

var contentLength = []byte("content-length:")

// readRequest reads one request with a Content-Length, and reports whether there was one.
func readRequest(in *bufio.Reader) bool {
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return false
			}
		}
	}
	if length < 0 {
		return false
	}
	_, err := in.Discard(length)
	return err == nil
}
