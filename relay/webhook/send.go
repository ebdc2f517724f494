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
	// MaxSnippetBytes limits Outcome.Snippet.
	MaxSnippetBytes = 512
	// MaxRetryAfter limits Outcome.RetryAfter, in case a receiver mistakenly requests years.
	MaxRetryAfter = 24 * time.Hour

	// A connection is reused if the body of the response ends within these limits, and closed otherwise.
	drainBytes = 4 << 10
	drainTime  = time.Second

	// variableHeaders is the number of headers that differ between deliveries, without those of CloudEvents.
	variableHeaders = 11
)

// MaxPayload is the size of the largest body to send, in bytes; 0 is no limit.
func (s *Sender) MaxPayload() int64 { return s.maxPayload }

// Send makes one attempt. It returns within the Sender's timeout, or soon after ctx ends. The headers of the response determine the
// Class; an error while reading the body does not change it.
func (s *Sender) Send(ctx context.Context, t *Target, m *Message) Outcome {
	start := time.Now()
	o := s.send(ctx, t, m, t.clock.signingTime(start, m.Time))
	o.Duration = time.Since(start)
	return o
}

func (s *Sender) send(ctx context.Context, t *Target, m *Message, now time.Time) Outcome {
	length := max(int64(len(m.Body)), m.BodyLength)
	if length == 0 {
		return Outcome{
			Class: ClassPayloadTooLarge,
			Err:   errors.New("the event has no body, because it would exceed outbox.max_body; raise that for future events"),
		}
	}
	if s.maxPayload > 0 && length > s.maxPayload {
		return Outcome{
			Class: ClassPayloadTooLarge,
			Err:   fmt.Errorf("the body has %d bytes and exceeds delivery.max_payload (%d); raise that to deliver it", length, s.maxPayload),
		}
	}
	return s.exchange(ctx, t, classify, func(ctx context.Context) *http.Request { return t.request(ctx, m, now) })
}

// classify returns the Outcome of a delivery by its status.
func classify(res *http.Response) Outcome {
	o := Outcome{Class: classOf(res.StatusCode), Status: res.StatusCode}
	if o.Class != ClassDelivered {
		o.Err = fmt.Errorf("the receiver responded with status %d", res.StatusCode)
	}
	return o
}

// exchange sends one request; judge returns the Outcome for its response.
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
	traced, timing := traceRequest(ctx)
	req := request(traced)
	if token != "" {
		req.Header[headerAuthorization] = []string{"Bearer " + token}
	}
	// Unlike http.Client, the transport follows no redirects, keeps no cookies and returns no errors that contain the URL.
	res, err := t.transport.RoundTrip(req)
	phases := timing.phases()
	if err != nil {
		o := failureOutcome(parent, ctx, s.timeout, err)
		o.Phases = phases
		return o
	}
	defer res.Body.Close()
	if token != "" && res.StatusCode == http.StatusUnauthorized {
		t.tokens.refuse(token)
	}
	t.clock.record(res.Header)
	o := judge(res)
	o.Phases = phases
	if res.StatusCode == http.StatusSwitchingProtocols {
		return o // the body is the connection
	}
	if res.ContentLength != 0 {
		// The class is known; a slow body must not delay other deliveries.
		defer time.AfterFunc(drainTime, cancel).Stop()
	}
	if o.Class == ClassDelivered {
		if res.ContentLength <= drainBytes {
			// Read one byte beyond the limit: the connection is only reused once EOF has been read. Ignore errors, which only cost
			// the connection.
			_, _ = io.CopyN(io.Discard, res.Body, drainBytes+1)
		}
		return o
	}
	// On an error, keep what has arrived.
	body, _ := io.ReadAll(io.LimitReader(res.Body, drainBytes+1))
	o.Snippet = snippet(body)
	o.RetryAfter = retryAfter(res.Header, time.Now())
	return o
}

// request builds the request. It depends only on t, m and the timestamp.
func (t *Target) request(ctx context.Context, m *Message, now time.Time) *http.Request {
	variable := variableHeaders
	if t.source != "" {
		variable += cloudEventHeaders
	}
	header := make(http.Header, len(t.header)+variable)
	maps.Copy(header, t.header)
	// One allocation for the values of all headers below.
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
	if isSafeHeaderValue(m.Event) {
		set(headerEvent, m.Event)
	}
	if isSafeHeaderValue(m.Tenant) {
		set(headerTenant, m.Tenant)
	}
	if m.Reconciled {
		set(headerReconciled, "true")
	}
	set(headerAttempt, strconv.Itoa(m.Attempt))
	set(headerAttemptsLeft, strconv.Itoa(m.AttemptsLeft))
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

// snippet converts the start of a body to valid UTF-8 for a text column.
func snippet(body []byte) []byte {
	text := strings.ReplaceAll(strings.ToValidUTF8(string(body), "\uFFFD"), "\x00", "\uFFFD")
	if len(text) > MaxSnippetBytes {
		// Drop a character that was cut in half.
		text = strings.ToValidUTF8(text[:MaxSnippetBytes], "")
	}
	return []byte(text)
}

// retryAfter parses the Retry-After header (RFC 9110, section 10.2.3), which is seconds or a date; 0 if it is neither or in the past.
// A date is compared with the response's own Date, if any, because it is by the receiver's clock.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || seconds > uint64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter // an overflow is still a request to wait
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
