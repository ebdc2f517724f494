package receiver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Delivery is one request as it arrived.
type Delivery struct {
	At     time.Time // when all of the body had arrived
	Path   string
	Query  string // as it was sent
	Header http.Header
	Body   []byte

	ID         string // webhook-id
	DeliveryID string // x-ferriskey-delivery-id
	Tenant     string // x-iam-relay-tenant
	Attempt    int    // x-iam-relay-attempt; 0 where there is none

	// Of the payload.
	Event, Resource string
	Timestamp       time.Time

	// Repeated: the path has seen the webhook-id before. Duplicate: and has accepted it.
	Repeated, Duplicate bool
	// Verified: all signatures that were expected are there and right.
	Verified bool
	// Problems are the ways in which the request is not what it must be.
	Problems []string
	// Status is the answer; 0 for none.
	Status int
}

// Latency is the time from the event's own timestamp, which is that of the commit, to the arrival.
func (d *Delivery) Latency() time.Duration { return d.At.Sub(d.Timestamp) }

func (d *Delivery) problem(format string, arguments ...any) {
	d.Problems = append(d.Problems, fmt.Sprintf(format, arguments...))
}

// read takes the delivery's fields from its headers and its payload.
func (d *Delivery) read() {
	d.ID, d.DeliveryID, d.Tenant = d.Header.Get("webhook-id"), d.Header.Get("x-ferriskey-delivery-id"), d.Header.Get("x-iam-relay-tenant")
	if attempt := d.Header.Get("x-iam-relay-attempt"); attempt != "" {
		var err error
		if d.Attempt, err = strconv.Atoi(attempt); err != nil || d.Attempt < 1 {
			d.problem("x-iam-relay-attempt is %q", attempt)
		}
	}
	if d.ID == "" || strings.Contains(d.ID, ".") {
		d.problem("webhook-id is %q", d.ID)
	}
	if media, _, err := mime.ParseMediaType(d.Header.Get("content-type")); err != nil || media != "application/json" {
		d.problem("content-type is %q", d.Header.Get("content-type"))
	}
	if err := d.readPayload(); err != nil {
		d.problem("payload: %v", err)
	}
}

// readPayload wants one object of four fields in their order: event, timestamp, resource_id, data.
func (d *Delivery) readPayload() error {
	decoder := json.NewDecoder(bytes.NewReader(d.Body))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return fmt.Errorf("it is no object: %w", orElse(err, "it begins with %v", token))
	}
	var data json.RawMessage
	for _, field := range []struct {
		name  string
		value any
	}{{"event", &d.Event}, {"timestamp", &d.Timestamp}, {"resource_id", &d.Resource}, {"data", &data}} {
		if name, err := decoder.Token(); err != nil || name != field.name {
			return fmt.Errorf("field %s: %w", field.name, orElse(err, "%v is in its place", name))
		}
		if err := decoder.Decode(field.value); err != nil {
			return fmt.Errorf("field %s: %w", field.name, err)
		}
	}
	if token, err := decoder.Token(); err != nil || token != json.Delim('}') {
		return fmt.Errorf("after data: %w", orElse(err, "%v follows", token))
	}
	if token, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("after the object: %w", orElse(err, "%v follows", token))
	}
	if d.Event == "" || d.Resource == "" || d.Timestamp.IsZero() {
		return fmt.Errorf("event, timestamp or resource_id is empty")
	}
	return nil
}

func orElse(err error, format string, arguments ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, arguments...)
}
