package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"
)

const vectorSymmetric = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

// vectorHeader is the request of the specification's first and third test vectors.
func vectorHeader(signatures string) http.Header {
	return http.Header{"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {signatures}}
}

const (
	vectorV1  = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorV1a = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func TestVerify(t *testing.T) {
	t.Parallel()
	sent := time.Unix(1614265330, 0)
	other := "v1," + strings.Repeat("A", 43) + "="
	for _, tt := range []struct {
		name    string
		secrets []Secret
		header  http.Header
		change  func(http.Header)
		late    time.Duration
		want    string // part of the error; "" for none
		scheme  string
		at      [2]int // signature, secret
	}{
		{name: "v1", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), scheme: "v1"},
		{name: "v1a, private", secrets: []Secret{vectorPrivate}, header: vectorHeader(vectorV1a), scheme: "v1a"},
		{name: "v1a, public", secrets: []Secret{vectorPublic}, header: vectorHeader(vectorV1a), scheme: "v1a"},
		{name: "second secret", secrets: []Secret{testSecret, vectorPublic}, header: vectorHeader(other + " " + vectorV1a), scheme: "v1a", at: [2]int{1, 1}},
		{name: "unknown version first", secrets: []Secret{vectorSymmetric}, header: vectorHeader("v2,x " + vectorV1), scheme: "v1", at: [2]int{1, 0}},
		{name: "malformed signature first", secrets: []Secret{vectorSymmetric}, header: vectorHeader("v1,? " + vectorV1), scheme: "v1", at: [2]int{1, 0}},
		{name: "two header lines", secrets: []Secret{vectorSymmetric}, header: vectorHeader(other), change: func(h http.Header) { h.Add("Webhook-Signature", vectorV1) }, scheme: "v1", at: [2]int{1, 0}},
		{name: "late within tolerance", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), late: 5 * time.Minute, scheme: "v1"},
		{name: "early within tolerance", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), late: -5 * time.Minute, scheme: "v1"},

		{name: "late", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), late: 301 * time.Second, want: "matches, but the request was sent 5m1s ago"},
		{name: "early", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), late: -301 * time.Second, want: "matches, but the timestamp is 5m1s in the future"},
		{name: "late and wrong", secrets: []Secret{testSecret}, header: vectorHeader(vectorV1), late: time.Hour, want: "no signature matches"},
		{name: "another secret", secrets: []Secret{testSecret}, header: vectorHeader(vectorV1), want: "no signature matches"},
		{name: "another key", secrets: []Secret{"whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, header: vectorHeader(vectorV1a), want: "no signature matches"},
		{name: "another id", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Set("Webhook-Id", "msg_2") }, want: "no signature matches"},
		{name: "another time", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Set("Webhook-Timestamp", "1614265331") }, want: "no signature matches"},
		{name: "shortened signature", secrets: []Secret{vectorSymmetric}, header: vectorHeader("v1,g0hM9SsE+OTPJTGt"), want: "no signature matches"},
		{name: "empty signature", secrets: []Secret{vectorPublic}, header: vectorHeader("v1a,"), want: "no signature matches"},
		{name: "secret of another type", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1a), want: "no signature has the type of the secret"},
		{name: "HMAC labeled v1a", secrets: []Secret{vectorPublic}, header: vectorHeader("v1a," + vectorV1[3:]), want: "no signature matches"},
		{name: "unknown version", secrets: []Secret{vectorSymmetric}, header: vectorHeader("v2,x sesame"), want: "no signature of version v1 or v1a"},
		{name: "not base64", secrets: []Secret{vectorSymmetric}, header: vectorHeader("v1,?"), want: "not valid base64"},
		{name: "unsigned", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Del("Webhook-Signature") }, want: "not signed"},
		{name: "no id", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Del("Webhook-Id") }, want: "the webhook-id header is missing"},
		{name: "two ids", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Add("Webhook-Id", "x") }, want: "2 webhook-id headers"},
		{name: "no timestamp", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Del("Webhook-Timestamp") }, want: "the webhook-timestamp header is missing"},
		{name: "invalid timestamp", secrets: []Secret{vectorSymmetric}, header: vectorHeader(vectorV1), change: func(h http.Header) { h.Set("Webhook-Timestamp", "today") }, want: "not in Unix seconds"},
		{name: "no secret", header: vectorHeader(vectorV1), want: "no secret"},
		{name: "empty secret", secrets: []Secret{""}, header: vectorHeader(vectorV1), want: "a secret is empty"},
		{name: "invalid secret", secrets: []Secret{"whsec_?"}, header: vectorHeader(vectorV1), want: "base64"},
		{name: "invalid public key", secrets: []Secret{"whpk_sesame"}, header: vectorHeader(vectorV1a), want: "32 bytes"},
		{name: "invalid private key", secrets: []Secret{"whsk_sesame"}, header: vectorHeader(vectorV1a), want: "64 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.change != nil {
				tt.change(tt.header)
			}
			v, err := Verify(tt.secrets, tt.header, []byte(`{"test": 2432232314}`), sent.Add(tt.late), 5*time.Minute)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "sesame") {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			want := Verified{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Sent: sent, Scheme: tt.scheme, Signature: tt.at[0], Secret: tt.at[1]}
			if err != nil || v != want {
				t.Errorf("Verify = %+v, %v, want %+v", v, err, want)
			}
		})
	}
	if _, err := Verify([]Secret{vectorSymmetric}, vectorHeader(vectorV1), []byte(`{"test":2432232314}`), sent, time.Minute); err == nil {
		t.Error("a re-encoded body is accepted")
	}
}

// Verify accepts signatures of this package and of the independent library.
func TestVerify_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id, body := rapid.StringMatching(`[a-z_0-9]{1,40}`).Draw(t, "id"), rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		secrets := rapid.SliceOfN(rapid.SampledFrom([]Secret{testSecret, vectorSymmetric, vectorPrivate}), 1, 4).Draw(t, "secrets")
		sent := time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "sent"), 0)
		timestamp := strconv.FormatInt(sent.Unix(), 10)
		s, err := newSignatures(secrets)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {s.webhookSignature(id, timestamp, body)}}
		known := rapid.SampledFrom(secrets).Draw(t, "known")
		if known == vectorPrivate && rapid.Bool().Draw(t, "public") {
			known = vectorPublic
		}
		if _, err := Verify([]Secret{known}, header, body, sent, time.Second); err != nil {
			t.Fatal(err)
		}
		independent, err := standardwebhooks.NewWebhook(string(vectorSymmetric))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := independent.Sign(id, sent, body)
		if err != nil {
			t.Fatal(err)
		}
		header.Set("Webhook-Signature", signature)
		if _, err := Verify([]Secret{vectorSymmetric}, header, body, sent, time.Second); err != nil {
			t.Fatal(err)
		}
		header.Set("Webhook-Id", id+"x")
		if _, err := Verify([]Secret{vectorSymmetric}, header, body, sent, time.Second); err == nil {
			t.Fatal("another id was accepted")
		}
	})
}
