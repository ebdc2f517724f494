package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"
)

// The key pair of the specification's third test vector.
const (
	vectorPrivate = Secret("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
	vectorPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

// The test vectors of the Standard Webhooks specification.
func TestWebhookSignature_PublishedVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		secret              Secret
		id, timestamp, body string
		want                string
	}{
		{
			"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330",
			`{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		},
		{
			"whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", "1731705121",
			`{"event_type":"ping","data":{"success":true}}`, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
		},
		{
			vectorPrivate, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`,
			"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
		},
	} {
		s, err := newSignatures([]Secret{tt.secret})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // The second time with a pooled state.
			if got := s.webhookSignature(tt.id, tt.timestamp, []byte(tt.body)); got != tt.want {
				t.Errorf("signature = %s, want %s", got, tt.want)
			}
		}
	}
}

func TestFerrisKeySignature_Vector(t *testing.T) {
	t.Parallel()
	// The first symmetric secret is used, at any index.
	s, err := newSignatures([]Secret{vectorPrivate, Secret(strings.Repeat("0123456789abcdef", 4)), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "eea062ec94db06c4079cbac2999d89c4373f505fe016190731027b289cff0cd8"
	if got := s.ferriskeySignature("1700000000", []byte(`{"event":"user.created"}`)); got != want {
		t.Errorf("signature = %s, want %s", got, want)
	}
}

// An independent verifier with any one of the secrets accepts the signature, and rejects it for another body.
func TestWebhookSignature_VerifiedIndependently(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfNDistinct(rapid.StringMatching(`[ -~]{16,64}`), 1, 3, rapid.ID[string]).Draw(t, "secrets")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		var keys []Secret
		for _, s := range secrets {
			if strings.HasPrefix(s, secretPrefix) {
				t.Skip("not raw text")
			}
			keys = append(keys, Secret(s))
		}
		s, err := newSignatures(keys)
		if err != nil {
			t.Fatal(err)
		}
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		header := http.Header{}
		header.Set("webhook-id", "evt_1")
		header.Set("webhook-timestamp", timestamp)
		header.Set("webhook-signature", s.webhookSignature("evt_1", timestamp, body))
		for _, secret := range secrets {
			verifier, err := standardwebhooks.NewWebhookRaw([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(body, header); err != nil {
				t.Fatalf("not accepted: %v", err)
			}
			if err := verifier.Verify(append([]byte("x"), body...), header); err == nil {
				t.Fatal("another body was accepted")
			}
		}
	})
}

// Symmetric and asymmetric secrets sign together, in the order of the list.
func TestWebhookSignature_BothKinds(t *testing.T) {
	t.Parallel()
	const symmetric = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	s, err := newSignatures([]Secret{vectorPrivate, symmetric, testSecret, vectorPrivate})
	if err != nil {
		t.Fatal(err)
	}
	timestamp, body := strconv.FormatInt(time.Now().Unix(), 10), []byte("body")
	signature := s.webhookSignature("evt_1", timestamp, body)
	parts := strings.Split(signature, " ")
	if len(parts) != 4 {
		t.Fatalf("signature = %s", signature)
	}
	for i, scheme := range []string{"v1a,", "v1,", "v1,", "v1a,"} {
		if !strings.HasPrefix(parts[i], scheme) {
			t.Errorf("part %d is %s, want %s", i, parts[i], scheme)
		}
	}
	public, err := Secret(vectorPublic).publicKey()
	if err != nil {
		t.Fatal(err)
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(parts[0], "v1a,"))
	if err != nil || !ed25519.Verify(public, []byte("evt_1."+timestamp+".body"), sum) {
		t.Errorf("the public key does not verify %s (%v)", parts[0], err)
	}
	verifier, err := standardwebhooks.NewWebhook(symmetric)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
	if err := verifier.Verify(body, header); err != nil {
		t.Errorf("not accepted: %v", err)
	}
}

func TestPublicKey(t *testing.T) {
	t.Parallel()
	if got, err := PublicKey(vectorPrivate); err != nil || got != vectorPublic {
		t.Errorf("PublicKey = %s, %v", got, err)
	}
	for _, s := range []Secret{testSecret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", vectorPublic, "whsk_sesame"} {
		if got, err := PublicKey(s); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("PublicKey(%q) = %s, %v", string(s), got, err)
		}
	}
}

func TestSecret_Check(t *testing.T) {
	t.Parallel()
	for secret, want := range map[Secret]string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":      "",
		Secret(strings.Repeat("0123456789abcdef", 4)): "",
		"whsec_":             "base64",
		"whsec_not base64!!": "base64",
		"whsec_c2hvcnQ=":     "shorter",
		"sesame":             "shorter",
		vectorPrivate:        "",
		vectorPublic:         "is public",
		"whsk_sesame":        "64 bytes",
		"whsk_":              "64 bytes",
		// With the public half of another key.
		Secret(string(vectorPrivate[:48]) + strings.Repeat("A", 43) + "=="): "do not match",
		"": "shorter",
	} {
		err := secret.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%q) = %v, want %q", string(secret), err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the error contains the secret: %v", err)
		}
	}
}

func TestSecret_IsRedacted(t *testing.T) {
	t.Parallel()
	s := Secret("open sesame")
	asJSON, err := json.Marshal(map[string]any{"a": s, "b": []Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "endpoint", &Endpoint{Secrets: []Secret{s}})
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprintf("%+v", Endpoint{Secrets: []Secret{s}}),
		fmt.Sprintf("%#v", Endpoint{Secrets: []Secret{s}}), string(asJSON), log.String(),
	} {
		if strings.Contains(text, "sesame") || strings.Contains(text, "736573616d65") {
			t.Errorf("the secret is printed: %s", text)
		}
	}
}
