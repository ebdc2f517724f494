package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxSnippetBytes bounds Outcome.Snippet.
	MaxSnippetBytes = 512
	// MaxRetryAfter bounds Outcome.RetryAfter: a receiver that asks for years has made a mistake.
	MaxRetryAfter = 24 * time.Hour

	// A connection is used again if its answer ends within this many bytes and this time; else it is closed.
	drainBytes = 4 << 10
	drainTime  = time.Second

	// variableHeaders is how many headers differ from delivery to delivery.
	variableHeaders = 11
)

// MaxPayload is the size of the largest body that is sent, in bytes; 0 is any.
func (s *Sender) MaxPayload() int64 { return s.maxPayload }

// Send makes one attempt. It returns within the Sender's timeout, or soon after ctx ends. The first answer counts as soon
// as its headers are there: nothing that happens to its body changes the Class.
func (s *Sender) Send(ctx context.Context, t *Target, m *Message) Outcome {
	start := time.Now()
	o := s.send(ctx, t, m, t.clock.choose(start, m.Time))
	o.Duration = time.Since(start)
	return o
}

func (s *Sender) send(ctx context.Context, t *Target, m *Message, now time.Time) Outcome {
	length := max(int64(len(m.Body)), m.Length)
	if length == 0 {
		return Outcome{
			Class: ClassPayloadTooLarge,
			Err:   errors.New("the event has no body: it would be larger than outbox.max_body allows"),
		}
	}
	if s.maxPayload > 0 && length > s.maxPayload {
		return Outcome{
			Class: ClassPayloadTooLarge,
			Err:   fmt.Errorf("the body has %d bytes; delivery.max_payload allows %d", length, s.maxPayload),
		}
	}
	return s.exchange(ctx, t, classify, func(ctx context.Context) *http.Request { return t.request(ctx, m, now) })
}

// classify judges the answer to a delivery by its status alone.
func classify(res *http.Response) Outcome {
	o := Outcome{Class: classOf(res.StatusCode), Status: res.StatusCode}
	if o.Class != ClassDelivered {
		o.Err = fmt.Errorf("the receiver answered with status %d", res.StatusCode)
	}
	return o
}

// exchange makes one request and judges its answer.
func (s *Sender) exchange(
	parent context.Context, t *Target, judge func(*http.Response) Outcome, request func(context.Context) *http.Request,
) Outcome {
	ctx, cancel := context.WithTimeout(parent, s.timeout)
	defer cancel()
	token := ""
	if t.tokens != nil {
		var err error
		if token, err = t.tokens.get(ctx); err != nil {
			return tokenFailure(parent, ctx, s.timeout, err)
		}
	}
	traced, timing := measure(ctx)
	req := request(traced)
	if token != "" {
		req.Header[headerAuthorization] = []string{"Bearer " + token}
	}
	// The transport itself, without http.Client: no redirects, no cookies, no errors that contain the URL.
	res, err := t.transport.RoundTrip(req)
	phases := timing.phases()
	if err != nil {
		o := failure(parent, ctx, s.timeout, err)
		o.Phases = phases
		return o
	}
	defer res.Body.Close()
	if token != "" && res.StatusCode == http.StatusUnauthorized {
		t.tokens.refuse(token)
	}
	t.clock.note(res.Header)
	o := judge(res)
	o.Phases = phases
	if res.StatusCode == http.StatusSwitchingProtocols {
		return o // its body is the connection
	}
	if res.ContentLength != 0 {
		// A deadline of its own: the verdict is known, and a body that drips in would hold the place of another delivery.
		defer time.AfterFunc(drainTime, cancel).Stop()
	}
	if o.Class == ClassDelivered {
		if res.ContentLength <= drainBytes {
			// One byte more than allowed: only reading the end of the body frees the connection. An error costs just that.
			_, _ = io.CopyN(io.Discard, res.Body, drainBytes+1)
		}
		return o
	}
	// As much as came in time is worth showing.
	body, _ := io.ReadAll(io.LimitReader(res.Body, drainBytes+1))
	o.Snippet = snippet(body)
	o.RetryAfter = retryAfter(res.Header, time.Now())
	return o
}

// request builds the request as bytes of t and m alone, but for the timestamp.
func (t *Target) request(ctx context.Context, m *Message, now time.Time) *http.Request {
	variable := variableHeaders
	if t.source != "" {
		variable += cloudEventHeaders
	}
	header := make(http.Header, len(t.header)+variable)
	maps.Copy(header, t.header)
	// One array holds the values of all the headers below.
	values := make([]string, 0, variable)
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	deliveryID := m.DeliveryID
	if deliveryID == "" {
		deliveryID = t.deliveryID(m.ID, m.Occurred)
	}
	set(headerID, m.ID)
	set(headerTimestamp, timestamp)
	set(headerFKTimestamp, timestamp)
	set(headerFKDelivery, deliveryID)
	if len(t.signatures.standard) > 0 {
		set(headerSignature, t.signatures.webhookSignature(m.ID, timestamp, m.Body))
	}
	if t.signatures.ferriskey != nil {
		set(headerFKSignature, t.signatures.ferriskeySignature(timestamp, m.Body))
	}
	if headerSafe(m.Event) {
		set(headerEvent, m.Event)
	}
	if headerSafe(m.Tenant) {
		set(headerTenant, m.Tenant)
	}
	if m.Reconciled {
		set(headerReconciled, "true")
	}
	set(headerAttempt, strconv.Itoa(m.Attempt))
	set(headerAttemptsLeft, strconv.Itoa(m.Left))
	if t.source != "" {
		t.setCloudEvent(m, set)
	}

	req := &http.Request{
		Method:        http.MethodPost,
		URL:           t.url,
		Host:          t.url.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		ContentLength: int64(len(m.Body)),
		Body:          http.NoBody,
	}
	if len(m.Body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.Body)), nil }
		req.Body = io.NopCloser(bytes.NewReader(m.Body))
	}
	return req.WithContext(ctx)
}

// snippet makes text of the first bytes of a body, fit for a text column.
func snippet(body []byte) []byte {
	text := strings.ReplaceAll(strings.ToValidUTF8(string(body), "\uFFFD"), "\x00", "\uFFFD")
	if len(text) > MaxSnippetBytes {
		// The second pass leaves out a character that the cut has halved.
		text = strings.ToValidUTF8(text[:MaxSnippetBytes], "")
	}
	return []byte(text)
}

// retryAfter reads the Retry-After header (RFC 9110, section 10.2.3), seconds or a date; 0 if it is neither or past. A date is one
// of the receiver's clock, so it is compared with what that clock said when it answered.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || seconds > uint64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter // too many digits for a number are still a wish
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}
