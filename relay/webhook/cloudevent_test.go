package webhook

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSend_CloudEvent(t *testing.T) {
	t.Parallel()
	var got http.Header
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	send := func(source string, m *Message, wanted bool) map[string]string {
		s := sender(t, func(cfg *SenderConfig) { cfg.CloudEventsSource = source })
		if o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL, Options: Options{CloudEvents: wanted}}), m); o.Class != ClassDelivered {
			t.Fatalf("outcome = %+v", o)
		}
		attributes := map[string]string{}
		for name := range got {
			if attribute, ok := strings.CutPrefix(name, "Ce-"); ok {
				attributes[strings.ToLower(attribute)] = got.Get(name)
			}
		}
		return attributes
	}
	m := message()
	m.Resource = "0198c0de-0000-7000-8000-000000000011"
	if diff := cmp.Diff(map[string]string{
		"specversion": "1.0", "id": "evt_2f6a", "type": "user.created", "source": "iam-relay/master",
		"time": "2023-11-14T22:13:20.123Z", "subject": m.Resource,
	}, send("", m, true)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if got.Get("Content-Type") != "application/json" || got.Get("Webhook-Id") != "evt_2f6a" {
		t.Errorf("headers = %v", got)
	}

	// The tenant is encoded for the URI, and the URI for the header, so a space is encoded twice.
	m.Tenant, m.Resource, m.Event = "mein Réalm/1", "a \"b\" 100%\n€\xff", "user.créé"
	if diff := cmp.Diff(map[string]string{
		"specversion": "1.0", "id": "evt_2f6a", "type": "user.cr%C3%A9%C3%A9",
		"source": "https://iam.example.com/events/mein%2520R%25C3%25A9alm%252F1",
		"time":   "2023-11-14T22:13:20.123Z", "subject": "a%20%22b%22%20100%25%0A%E2%82%AC%FF",
	}, send("https://iam.example.com/events/", m, true)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}

	m.Tenant, m.Resource = "", ""
	attributes := send("", m, true)
	if _, ok := attributes["subject"]; ok || attributes["source"] != "iam-relay" {
		t.Errorf("attributes = %v", attributes)
	}
	if attributes := send("", m, false); len(attributes) > 0 {
		t.Errorf("attributes = %v, want none", attributes)
	}
}

// Keys have any length, but many servers reject more than 8 kB of headers.
func TestSend_CloudEventLongKeys(t *testing.T) {
	t.Parallel()
	var got http.Header
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	s := sender(t, func(cfg *SenderConfig) { cfg.CloudEventsSource = "https://iam.example.com" })
	to := target(t, s, Endpoint{URL: srv.URL, Options: Options{CloudEvents: true}})
	for _, test := range []struct{ tenant, resource, source, subject string }{
		{strings.Repeat("t", 255), strings.Repeat("r", 1024), "/" + strings.Repeat("t", 255), strings.Repeat("r", 1024)},
		{strings.Repeat("t", 256), strings.Repeat("r", 1025), "/sha256:207f4a3cf995e67883c91f37fd460c6f12fa947cedef627b1811a2141ad8ab6a", ""},
		{"acme", strings.Repeat("é", 171), "/acme", ""}, // as it is encoded
		{"acme", strings.Repeat("x", 10_000_000), "/acme", ""},
	} {
		m := message()
		m.Tenant, m.Resource = test.tenant, test.resource
		if o := s.Send(t.Context(), to, m); o.Class != ClassDelivered {
			t.Fatalf("outcome = %+v", o)
		}
		if source := got.Get(headerCESource); source != "https://iam.example.com"+test.source {
			t.Errorf("a tenant of %d bytes: source = %q", len(test.tenant), source)
		}
		if subject, is := got[headerCESubject]; is != (test.subject != "") || is && subject[0] != test.subject {
			t.Errorf("a resource of %d bytes: subject of %d bytes", len(test.resource), len(got.Get(headerCESubject)))
		}
	}
}

func TestCheckCloudEventsSource(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"iam-relay", "/iam", "https://iam.example.com/a/b", "urn:example:iam", "a%20b"} {
		if err := CheckCloudEventsSource(source); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	for _, source := range []string{"", "a b", "é", "https://u:p@a.example", "a?b", "a#b", "a\"b", "%zz", strings.Repeat("a", 256)} {
		if err := CheckCloudEventsSource(source); err == nil {
			t.Errorf("%q is valid", source)
		}
	}
	if _, err := NewSender(SenderConfig{CloudEventsSource: "a b"}); err == nil {
		t.Error("NewSender accepts an invalid source")
	}
}
