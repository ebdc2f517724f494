package receiver_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	body   = `{"event":"user.created","timestamp":"2026-08-20T13:54:00.123456Z","resource_id":"0198c0de-0000-7000-8000-0000000000e1","data":{"id":1}}`
)

func start(t *testing.T, o receiver.Options) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// signed is a request as a good sender makes it.
func signed(t *testing.T, url, id, body string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	timestamp := strconv.FormatInt(now.Unix(), 10)
	standard, err := standardwebhooks.NewWebhookRaw([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := standard.Sign(id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "." + body))
	for name, value := range map[string]string{
		"content-type": "application/json",
		"webhook-id":   id, "webhook-timestamp": timestamp, "webhook-signature": signature,
		"x-ferriskey-timestamp": timestamp, "x-ferriskey-delivery-id": "0198c0de-0000-7000-8000-000000000001",
		"x-ferriskey-signature": hex.EncodeToString(mac.Sum(nil)),
		"x-iam-relay-tenant":    "acme", "x-iam-relay-attempt": "2",
	} {
		request.Header.Set(name, value)
	}
	return request
}

// client keeps its connections to itself, so that goleak sees them end.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send returns the status and the Retry-After of the answer.
func send(t *testing.T, c *http.Client, request *http.Request) (status int, retryAfter string) {
	t.Helper()
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode, response.Header.Get("Retry-After")
}

func TestReceiver_ReadsAndVerifiesADelivery(t *testing.T) {
	t.Parallel()
	r := start(t, receiver.Options{})
	r.Expect("/hook", "an old secret that is still allowed", secret)
	if got, _ := send(t, client(t), signed(t, r.URL("/hook"), "evt_1", body)); got != http.StatusNoContent {
		t.Errorf("the answer is %d", got)
	}
	s := r.Snapshot()
	if s.Requests != 1 || s.Accepted != 1 || s.Distinct != 1 || s.Verified != 1 || s.Faulty != 0 {
		t.Errorf("state: %+v", s)
	}
	d := s.Deliveries[0]
	got := []any{d.Path, d.ID, d.DeliveryID, d.Tenant, d.Attempt, d.Event, d.Resource, d.Timestamp.Format(time.RFC3339Nano), string(d.Body), d.Status}
	want := []any{"/hook", "evt_1", "0198c0de-0000-7000-8000-000000000001", "acme", 2, "user.created", "0198c0de-0000-7000-8000-0000000000e1", "2026-08-20T13:54:00.123456Z", body, 204}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivery: (-want +got)\n%s", diff)
	}
	if d.Latency() != d.At.Sub(d.Timestamp) || d.Latency() == 0 {
		t.Errorf("the latency is %s", d.Latency())
	}
}

func TestReceiver_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body   string
		spoil  func(*http.Request)
		expect string
	}{
		"standard signature":     {spoil: set("webhook-signature", "v1,AAAA"), expect: "webhook-signature: "},
		"no standard signature":  {spoil: del("webhook-signature"), expect: "webhook-signature: "},
		"another id was signed":  {spoil: set("webhook-id", "evt_2"), expect: "webhook-signature: "},
		"old timestamp":          {spoil: set("webhook-timestamp", "1700000000"), expect: "message timestamp too old"},
		"no id":                  {spoil: del("webhook-id"), expect: `webhook-id is ""`},
		"id with a point":        {spoil: set("webhook-id", "a.b"), expect: `webhook-id is "a.b"`},
		"FerrisKey signature":    {spoil: set("x-ferriskey-signature", strings.Repeat("0", 64)), expect: "x-ferriskey-signature is of none"},
		"FerrisKey timestamp":    {spoil: set("x-ferriskey-timestamp", "soon"), expect: "x-ferriskey-timestamp is"},
		"FerrisKey id":           {spoil: del("x-ferriskey-delivery-id"), expect: "x-ferriskey-delivery-id is"},
		"attempt":                {spoil: set("x-iam-relay-attempt", "0"), expect: "x-iam-relay-attempt is"},
		"content type":           {spoil: set("content-type", "text/plain"), expect: "content-type is"},
		"method":                 {spoil: func(r *http.Request) { r.Method = http.MethodPut }, expect: "the method is PUT"},
		"no JSON":                {body: `event`, expect: "payload: it is no object"},
		"an array":               {body: `[]`, expect: "payload: it is no object"},
		"order of the fields":    {body: `{"timestamp":"2026-08-20T13:54:00Z","event":"e","resource_id":"r","data":null}`, expect: "payload: field event: timestamp is in its place"},
		"a field too few":        {body: `{"event":"e","timestamp":"2026-08-20T13:54:00Z","resource_id":"r"}`, expect: "payload: field data: } is in its place"},
		"a field too many":       {body: strings.TrimSuffix(body, "}") + `,"realm":"r"}`, expect: "payload: after data: realm follows"},
		"something after it":     {body: body + "null", expect: "payload: after the object"},
		"no time":                {body: `{"event":"e","timestamp":"yesterday","resource_id":"r","data":null}`, expect: "payload: field timestamp"},
		"an empty resource":      {body: `{"event":"e","timestamp":"2026-08-20T13:54:00Z","resource_id":"","data":null}`, expect: "payload: event, timestamp or resource_id is empty"},
		"a body that ends early": {body: strings.TrimSuffix(body, "}"), expect: "payload: after data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, receiver.Options{})
			r.Expect("/hook", secret)
			if test.body == "" {
				test.body = body
			}
			request := signed(t, r.URL("/hook"), "evt_1", test.body)
			if test.spoil != nil {
				test.spoil(request)
			}
			send(t, client(t), request)
			s := r.Snapshot()
			if s.Faulty != 1 || !strings.Contains(strings.Join(s.Deliveries[0].Problems, "\n"), test.expect) {
				t.Errorf("%d faulty; problems %q lack %q", s.Faulty, s.Deliveries[0].Problems, test.expect)
			}
			if strings.Contains(test.expect, "signature") && s.Verified != 0 {
				t.Error("it counts as verified")
			}
		})
	}
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}
func del(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }

func TestReceiver_TellsRetriesFromDuplicates(t *testing.T) {
	t.Parallel()
	for _, counting := range []bool{false, true} {
		r := start(t, receiver.Options{Counting: counting})
		c := client(t)
		r.Respond(func(d *receiver.Delivery) receiver.Response {
			if !d.Repeated {
				return receiver.RetryAfter(http.StatusServiceUnavailable, 7*time.Second)
			}
			return receiver.Response{Status: http.StatusOK, Body: []byte("ok")}
		})
		if status, retryAfter := send(t, c, signed(t, r.URL("/a"), "evt_1", body)); status != 503 || retryAfter != "7" {
			t.Errorf("the answer is %d with Retry-After %q", status, retryAfter)
		}
		send(t, c, signed(t, r.URL("/a"), "evt_1", body)) // a retry
		send(t, c, signed(t, r.URL("/a"), "evt_1", body)) // a duplicate
		send(t, c, signed(t, r.URL("/b"), "evt_1", body)) // the first for another webhook
		s := r.Snapshot()
		got := []int{s.Requests, s.Accepted, s.Distinct, s.Duplicates, s.Faulty}
		if diff := cmp.Diff([]int{4, 2, 1, 1, 0}, got); diff != "" {
			t.Errorf("counting %v: (-want +got)\n%s", counting, diff)
		}
		if (s.Deliveries == nil) != counting {
			t.Errorf("counting %v keeps %d deliveries", counting, len(s.Deliveries))
		}
		send(t, c, signed(t, r.URL("/a"), "evt_1", strings.Replace(body, "1}", "2}", 1)))
		if s := r.Snapshot(); s.Faulty != 1 || !strings.Contains(s.FirstProblem, "came before with another body") {
			t.Errorf("counting %v: another body under the same id: %+v", counting, s)
		}
		r.Reset()
		if s := r.Snapshot(); s.Requests != 0 {
			t.Errorf("after a reset: %+v", s)
		}
	}
}

func TestWait_ReturnsWithTheRequestThatFulfilsIt(t *testing.T) {
	t.Parallel()
	r := start(t, receiver.Options{})
	c := client(t)
	var sending sync.WaitGroup
	for i := range 20 {
		request := signed(t, r.URL("/"), "evt_"+strconv.Itoa(i), body)
		sending.Go(func() {
			if response, err := c.Do(request); err == nil {
				response.Body.Close()
			}
		})
	}
	s, err := r.Wait(t.Context(), func(s *receiver.Snapshot) bool { return s.Distinct == 20 })
	if err != nil || len(s.Deliveries) != 20 {
		t.Errorf("%d deliveries, %v", len(s.Deliveries), err)
	}
	sending.Wait()

	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("no patience"))
	defer cancel()
	if _, err := r.Wait(ctx, func(s *receiver.Snapshot) bool { return s.Requests > 20 }); err == nil || !strings.Contains(err.Error(), "no patience after 20 requests") {
		t.Errorf("waiting for what does not come: %v", err)
	}
}

func TestRespond_HangsDelaysAndLetsGo(t *testing.T) {
	t.Parallel()
	r := start(t, receiver.Options{})
	c := client(t)
	r.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{Hang: true} })
	failed := make(chan error)
	for range 2 {
		request := signed(t, r.URL("/"), "evt_1", body)
		go func() {
			response, err := c.Do(request)
			if err == nil {
				response.Body.Close()
			}
			failed <- err
		}()
	}
	if _, err := r.Wait(t.Context(), func(s *receiver.Snapshot) bool { return s.Requests == 2 }); err != nil {
		t.Fatal(err)
	}
	r.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{Delay: time.Millisecond} })
	if got, _ := send(t, c, signed(t, r.URL("/"), "evt_2", body)); got != 204 {
		t.Errorf("a delayed answer is %d", got)
	}
	if s := r.Snapshot(); s.Accepted != 1 || s.Deliveries[0].Status != 0 {
		t.Errorf("%d are accepted, and the one without an answer has status %d", s.Accepted, s.Deliveries[0].Status)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("a request that hung was answered")
		}
	}
}

func TestTLS_IsTrustedByItsCertificate(t *testing.T) {
	t.Parallel()
	r := start(t, receiver.Options{TLS: true})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(r.CertificatePEM()) {
		t.Fatal("there is no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	if !strings.HasPrefix(r.URL("/"), "https://127.0.0.1:") {
		t.Errorf("the address is %s", r.URL("/"))
	}
	send(t, &http.Client{Transport: transport}, signed(t, r.URL("/"), "evt_1", body))
	if response, err := client(t).Do(signed(t, r.URL("/"), "evt_2", body)); err == nil {
		response.Body.Close()
		t.Error("a client that does not know the certificate is served")
	}
}

func TestAddress_CanBeTakenAgain(t *testing.T) {
	t.Parallel()
	first := start(t, receiver.Options{})
	address := first.Address()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, receiver.Options{Address: address})
	send(t, client(t), signed(t, second.URL("/"), "evt_1", body))
	if _, err := receiver.Start(receiver.Options{Address: address}); err == nil {
		t.Error("two receivers share an address")
	}
}
