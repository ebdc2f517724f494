package webhook

import (
	"bytes"
	"context"
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
)

// Send makes one attempt. It returns within the Sender's timeout, or soon after ctx ends. The first answer counts as soon
// as its headers are there: nothing that happens to its body changes the Class.
func (s *Sender) Send(ctx context.Context, t *Target, m *Message) Outcome {
	start := time.Now()
	o := s.send(ctx, t, m, start)
	o.Duration = time.Since(start)
	return o
}

func (s *Sender) send(parent context.Context, t *Target, m *Message, now time.Time) Outcome {
	ctx, cancel := context.WithTimeout(parent, s.timeout)
	defer cancel()
	// The transport itself, without http.Client: no redirects, no cookies, no errors that contain the URL.
	res, err := s.transport.RoundTrip(t.request(ctx, m, now))
	if err != nil {
		return failure(parent, ctx, s.timeout, err)
	}
	defer res.Body.Close()
	o := Outcome{Class: classOf(res.StatusCode), Status: res.StatusCode}
	if res.StatusCode == http.StatusSwitchingProtocols {
		o.Err = fmt.Errorf("the receiver answered with status %d", res.StatusCode)
		return o
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
	o.RetryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	o.Err = fmt.Errorf("the receiver answered with status %d", res.StatusCode)
	return o
}

// request builds the request as bytes of t and m alone, but for the timestamp.
func (t *Target) request(ctx context.Context, m *Message, now time.Time) *http.Request {
	header := make(http.Header, len(t.header)+10)
	maps.Copy(header, t.header)
	// One array holds the values of all the headers below.
	values := make([]string, 0, 10)
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
	set(headerAttempt, strconv.Itoa(m.Attempt))
	set(headerAttemptsLeft, strconv.Itoa(m.Left))

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

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3), seconds or a date; 0 if it is neither or past.
func retryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), MaxRetryAfter)
}
