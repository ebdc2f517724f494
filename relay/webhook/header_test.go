package webhook

import (
	"net/http"
	"strings"
	"testing"
)

func TestCheckHeaders(t *testing.T) {
	t.Parallel()
	good := map[string]string{"Authorization": "Bearer x", "X-Api-Key": "a b\tc", "Idempotency-Key": "é"}
	if err := CheckHeaders(good); err != nil {
		t.Errorf("good headers: %v", err)
	}
	for _, name := range []string{
		"host", "Content-Type", "content-length", "Content-Encoding", "Transfer-Encoding", "Connection", "TE", "Trailer",
		"Upgrade", "Keep-Alive", "Proxy-Authorization", "Expect", "webhook-id", "Webhook-Signature", "ce-id",
		"x-ferriskey-signature", "User-Agent", "Date", "Forwarded", "X-Forwarded-For", "x-iam-relay-event",
	} {
		err := CheckHeaders(map[string]string{name: "sesame"})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("%s: error %v, want one that contains reserved", name, err)
		}
	}
	for _, tt := range []struct {
		headers map[string]string
		want    string
	}{
		{map[string]string{"": "sesame"}, "the name must consist"},
		{map[string]string{"X Y": "sesame"}, "the name must consist"},
		{map[string]string{"X-É": "sesame"}, "the name must consist"},
		{map[string]string{"X-A": "sesame\r\nHost: evil"}, "line break"},
		{map[string]string{"X-A": "sesame\x00"}, "control character"},
		{map[string]string{"X-A": "1", "x-a": "2"}, "given twice"},
	} {
		err := CheckHeaders(tt.headers)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want one with %q", tt.headers, err, tt.want)
		} else if strings.Contains(err.Error(), "sesame") {
			t.Errorf("the error contains a value: %v", err)
		}
	}
	err := CheckHeaders(map[string]string{"Host": "a", "Date": "b", "X-Fine": "c"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error = %v, want both problems", err)
	}
}

func TestIsSafeHeaderValue(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"master": true, "my realm": true, "": false, "réalm": false, "a\nb": false, " a": false, "a ": false,
		strings.Repeat("a", 256): false,
	} {
		if got := isSafeHeaderValue(value); got != want {
			t.Errorf("isSafeHeaderValue(%q) = %t", value, got)
		}
	}
}

// An IAM accepts headers that HTTP or the relay sets. They are dropped, and the webhook is still delivered to.
func TestTarget_DropsReservedHeadersOfIAM(t *testing.T) {
	t.Parallel()
	var got http.Header
	var host string
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { got, host = r.Header, r.Host })
	s := sender(t, nil)
	headers := map[string]string{
		"Content-Type": "text/plain", "content-length": "1", "Host": "sesame.example", "Transfer-Encoding": "gzip", "Connection": "close", "TE": "gzip",
		"Trailer": "X", "Upgrade": "h2c", "Keep-Alive": "1", "Proxy-Authorization": "sesame", "Expect": "100-continue", "webhook-id": "sesame", "User-Agent": "sesame",
		"X Y": "sesame", "": "sesame", "X-É": "sesame", "X-Line": "a\nsesame", "x-once": "sesame", "X-Once": "1", " X-Trimmed\u00a0": "\t yes\r\n", "Authorization": "Bearer x",
	}
	to := target(t, s, Endpoint{Origin: OriginIAM, Key: "7", URL: srv.URL, Headers: headers})
	if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
		t.Fatalf("outcome = %+v", o)
	}
	if got.Get("Content-Type") != "application/json" || got.Get("X-Trimmed") != "yes" || got.Get("Authorization") != "Bearer x" || got.Get("X-Once") != "1" || host == "sesame.example" {
		t.Errorf("host %s, headers %v", host, got)
	}
	for name, values := range got {
		if strings.Contains(strings.Join(values, ""), "sesame") {
			t.Errorf("%s is sent: %q", name, values)
		}
	}
	dropped := to.DroppedHeaders()
	if dropped == nil || strings.Count(dropped.Error(), "\n") != len(headers)-4 || strings.Contains(dropped.Error(), "sesame") {
		t.Errorf("dropped: %v", dropped)
	}
	if _, err := s.Target(&Endpoint{Origin: OriginConfig, Name: "crm", URL: srv.URL, Headers: headers}); err == nil {
		t.Error("a configured webhook with them is valid")
	}
	if to := target(t, s, Endpoint{Origin: OriginIAM, URL: srv.URL, Headers: map[string]string{"X": "1"}}); to.DroppedHeaders() != nil {
		t.Error(to.DroppedHeaders())
	}
}
