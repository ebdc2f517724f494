package webhook

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestSend_PayloadTooLarge(t *testing.T) {
	t.Parallel()
	var received atomic.Int32
	srv := receiver(t, func(http.ResponseWriter, *http.Request) { received.Add(1) })
	m := message()
	m.Body = bytes.Repeat([]byte("x"), 1001)

	limited := sender(t, func(cfg *SenderConfig) { cfg.MaxPayload = 1000 })
	to := target(t, limited, Endpoint{URL: srv.URL})
	o := limited.Send(t.Context(), to, m)
	if o.Class != ClassPayloadTooLarge || o.Class.Verdict() != Permanent || o.Err == nil || !strings.Contains(o.Err.Error(), "1001 bytes") {
		t.Errorf("outcome = %+v", o)
	}
	if n := received.Load(); n != 0 {
		t.Errorf("received %d", n)
	}
	m.Body = m.Body[:1000]
	if o := limited.Send(t.Context(), to, m); o.Class != ClassDelivered {
		t.Errorf("at the limit: %+v", o)
	}
	m.Body = bytes.Repeat([]byte("x"), 1<<20)
	unlimited := sender(t, nil)
	if o := unlimited.Send(t.Context(), target(t, unlimited, Endpoint{URL: srv.URL}), m); o.Class != ClassDelivered {
		t.Errorf("without a limit: %+v", o)
	}
}
