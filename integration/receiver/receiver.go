// Package receiver is the other end of a webhook: an HTTP server that checks everything about a delivery that can be
// checked from outside, with other code than the sender's, and that behaves as badly as a test asks.
package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Options are all optional.
type Options struct {
	// Address to listen on; empty means a free port of 127.0.0.1.
	Address string
	// TLS serves https, with a certificate of its own: see CertificatePEM.
	TLS bool
	// Counting keeps no deliveries, only what counting and the detection of duplicates need: some 40 bytes for each.
	Counting bool
}

// Response is how a request is answered. The zero value is 204 at once.
type Response struct {
	Status int // 0 means 204
	Header map[string]string
	Body   []byte
	// Delay before the answer. It ends early when the client gives up or the receiver is closed; then there is no answer.
	Delay time.Duration
	// Hang never answers.
	Hang bool
}

// Receiver is a running server.
type Receiver struct {
	server   *http.Server
	listener net.Listener
	scheme   string
	cert     []byte
	counting bool
	served   chan error

	mu      sync.Mutex
	closing context.Context // ends the requests that wait for their answer
	cancel  context.CancelFunc
	changed *sync.Cond // of state
	state   Snapshot
	respond func(*Delivery) Response
	secrets map[string][]string // by path
	seed    maphash.Seed
	seen    map[uint64]sighting // by path and webhook-id
}

// sighting is what is remembered of a webhook-id: a hash of what must be the same each time.
type sighting struct {
	content  uint64
	accepted bool
}

// maxBody is far above any payload.
const maxBody = 64 << 20

// Start listens and serves until Close.
func Start(o Options) (*Receiver, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("start a webhook receiver: %w", err)
	}
	r := &Receiver{
		listener: listener, scheme: "http", counting: o.Counting, served: make(chan error, 1),
		seed: maphash.MakeSeed(), seen: map[uint64]sighting{}, secrets: map[string][]string{},
		respond: func(*Delivery) Response { return Response{} },
	}
	r.changed = sync.NewCond(&r.mu)
	r.closing, r.cancel = context.WithCancel(context.Background())
	r.server = &http.Server{Handler: http.HandlerFunc(r.handle), ReadHeaderTimeout: time.Minute}
	if o.TLS {
		certificate, text, err := newCertificate()
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		r.scheme, r.cert = "https", text
		r.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	go func() {
		if o.TLS {
			r.served <- r.server.ServeTLS(listener, "", "")
			return
		}
		r.served <- r.server.Serve(listener)
	}()
	return r, nil
}

// URL is the address of a path, which begins with a slash.
func (r *Receiver) URL(path string) string { return r.scheme + "://" + r.Address() + path }

// Address is the host and port that the receiver listens on.
func (r *Receiver) Address() string { return r.listener.Addr().String() }

// CertificatePEM is the certificate to trust for https, in PEM; nil without TLS.
func (r *Receiver) CertificatePEM() []byte { return r.cert }

// Close ends the server and every request that waits. It may be called twice.
func (r *Receiver) Close() error {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	err := r.server.Close()
	served := <-r.served
	r.served <- served
	if errors.Is(served, http.ErrServerClosed) {
		served = nil
	}
	if err := errors.Join(err, served); err != nil {
		return fmt.Errorf("close the webhook receiver: %w", err)
	}
	return nil
}

// HangUp ends the requests that wait for their answer, as if the receiver had died. Later ones are not affected.
func (r *Receiver) HangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel()
	r.closing, r.cancel = context.WithCancel(context.Background())
}

// Respond sets how later requests are answered. It is called for each, after the request has been checked and before it is
// recorded, and not concurrently; it must not call the Receiver.
func (r *Receiver) Respond(respond func(*Delivery) Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond = respond
}

// Expect sets the secrets for a path, as their owner was given them: one must have signed each request. Nothing is checked
// of the signatures on a path without.
func (r *Receiver) Expect(path string, secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[path] = secrets
}

func (r *Receiver) handle(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	d := Delivery{At: time.Now(), Path: request.URL.Path, Query: request.URL.RawQuery, Header: request.Header, Body: body}
	if err != nil {
		d.problem("read the body: %v", err)
	}
	if request.Method != http.MethodPost {
		d.problem("the method is %s", request.Method)
	}
	d.read()

	r.mu.Lock()
	secrets := r.secrets[d.Path]
	r.mu.Unlock()
	d.verify(secrets)

	answer, closing := r.record(&d)
	if !wait(request.Context(), closing, answer) {
		// Neither an answer nor a proper end: as if the receiver had died.
		panic(http.ErrAbortHandler)
	}
	for name, value := range answer.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.Status)
	// An error means that the client has gone, which is its right.
	_, _ = w.Write(answer.Body)
}

// record decides on the answer, and on what ends the wait for it, and adds the delivery to the state.
func (r *Receiver) record(d *Delivery) (answer Response, closing context.Context) {
	id, content := r.hash(d.Path, []byte(d.ID)), r.hash(d.DeliveryID, d.Body)

	r.mu.Lock()
	defer r.mu.Unlock()
	earlier, repeated := r.seen[id]
	d.Repeated, d.Duplicate = repeated, earlier.accepted
	if repeated && earlier.content != content {
		d.problem("webhook-id %s came before with another body or x-ferriskey-delivery-id", d.ID)
	}
	answer = r.respond(d)
	if answer.Status == 0 {
		answer.Status = http.StatusNoContent
	}
	if !answer.Hang {
		d.Status = answer.Status
	}
	accepted := d.Status >= 200 && d.Status < 300
	r.seen[id] = sighting{content: content, accepted: accepted || earlier.accepted}
	r.state.add(d, accepted, !r.counting)
	r.changed.Broadcast()
	return answer, r.closing
}

// hash is of 64 bits: among ten million deliveries, two are confused once in 370,000 runs.
func (r *Receiver) hash(a string, b []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	// A hash never fails to write.
	_, _ = h.WriteString(a)
	_ = h.WriteByte(0)
	_, _ = h.Write(b)
	return h.Sum64()
}

// wait delays the answer. It reports whether there is to be one.
func wait(client, closing context.Context, answer Response) bool {
	if !answer.Hang && answer.Delay == 0 {
		return true
	}
	var over <-chan time.Time // never, where it hangs
	if !answer.Hang {
		timer := time.NewTimer(answer.Delay)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-client.Done():
		return false
	case <-closing.Done():
		return false
	}
}

// RetryAfter is an answer with that status and a Retry-After of whole seconds.
func RetryAfter(status int, wait time.Duration) Response {
	return Response{Status: status, Header: map[string]string{"Retry-After": strconv.Itoa(int(wait.Seconds()))}}
}
