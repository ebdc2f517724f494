package command_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

const (
	verifySecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verifyPrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	verifyPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	verifyHeaders = "Webhook-ID: msg_p5jXN8AQM9LWM0D4loKWxJek\nwebhook-timestamp: 1614265330\n\nwebhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\n"
	verifyBody    = `{"test": 2432232314}`
	verifyValid   = "valid: v1 signature 1 matches secret 1; id msg_p5jXN8AQM9LWM0D4loKWxJek, sent 2021-02-25T15:02:10Z\n"
)

// file writes a file of the test's own.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestVerify(t *testing.T) {
	t.Parallel()
	headers, body, secret := file(t, verifyHeaders), file(t, verifyBody), file(t, "\n"+verifySecret+"\n")
	base := []string{"verify", "--headers", headers, "--body", body, "--secret-file", secret}
	with := func(more ...string) []string { return append(append([]string{}, base...), more...) }

	run(t, with("--at", "1614265330")...).done(verifyValid)
	run(t, with("--at", "2021-02-25T16:07:10+01:00")...).done(verifyValid)
	run(t, with("--at", "2021-02-25T15:07:11Z")...).fails(1, "not valid: the signature matches, but the request was sent 5m1s ago, which exceeds the tolerance of 5m0s")
	run(t, with("--at", "2021-02-25T15:07:11Z", "--tolerance", "10m")...).done(verifyValid)
	if r := run(t, base...); r.code != 1 || !strings.HasPrefix(r.err, "iam-relay: not valid: the signature matches, but the request was sent ") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	piped := exec.CommandContext(t.Context(), binary, "verify", "--headers", headers, "--secret-file", secret, "--at", "1614265330")
	piped.Stdin = strings.NewReader(verifyBody)
	if out, err := piped.CombinedOutput(); err != nil || string(out) != verifyValid {
		t.Errorf("from standard input: %s (%v)", out, err)
	}
	changed := file(t, verifyBody+"\n")
	const mismatch = "no signature matches: the secret is a different one, or the id, timestamp or body has changed; pass the body exactly as it was received, byte for byte"
	run(t, "verify", "--headers", headers, "--body", changed, "--secret-file", secret, "--at", "1614265330").fails(1, "not valid: "+mismatch)

	both := file(t, strings.Replace(verifyHeaders, "v1,", "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== v1,", 1))
	for i, key := range []string{verifyPublic, verifyPrivate, "0123456789abcdef\n" + verifySecret} {
		r := run(t, "verify", "--headers", both, "--body", body, "--secret-file", file(t, key), "--at", "1614265330", "--json")
		var got map[string]any
		if err := json.Unmarshal([]byte(r.out), &got); r.code != 0 || err != nil {
			t.Fatalf("exit code %d, %v: %s%s", r.code, err, r.out, r.err)
		}
		want := [][3]any{{"v1a", 1.0, 1.0}, {"v1a", 1.0, 1.0}, {"v1", 2.0, 2.0}}[i]
		if got["valid"] != true || [3]any{got["scheme"], got["signature"], got["secret"]} != want || got["sent"] != "2021-02-25T15:02:10Z" {
			t.Errorf("key %d: %s", i, r.out)
		}
	}
	r := run(t, "verify", "--headers", headers, "--body", changed, "--secret-file", secret, "--at", "1614265330", "--json")
	r.prints("{\n  \"valid\": false,\n  \"reason\": \"" + mismatch + "\"\n}\n")
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
}

// A request of the relay itself, captured by a receiver, verifies.
func TestVerify_WholeRequest(t *testing.T) {
	t.Parallel()
	var captured []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { captured, _ = httputil.DumpRequest(r, true) }))
	t.Cleanup(srv.Close)
	sender, err := webhook.NewSender(webhook.SenderConfig{AllowHTTP: true, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	target, err := sender.Target(&webhook.Endpoint{URL: srv.URL + "/hook?key=1", Secrets: []webhook.Secret{verifyPrivate, verifySecret}})
	if err != nil {
		t.Fatal(err)
	}
	if o := sender.Send(t.Context(), target, &webhook.Message{ID: "evt_1", Event: "user.created", Body: []byte("{\n\n}\n"), Occurred: time.Now()}); o.Err != nil {
		t.Fatal(o.Err)
	}
	wire := string(captured)
	secret := file(t, verifySecret)
	for name, text := range map[string]string{
		"as it was": wire, "LF": strings.ReplaceAll(wire, "\r\n", "\n"), "HTTP/2": strings.Replace(wire, "HTTP/1.1", "HTTP/2", 1), "newline at the end": wire + "\n",
		"without length": strings.Replace(wire, "Content-Length: 5\r\n", "", 1),
		"chunked":        strings.Replace(strings.Replace(wire, "Content-Length: 5", "Transfer-Encoding: chunked", 1), "{\n\n}\n", "2\r\n{\n\r\n3\r\n\n}\n\r\n0\r\n\r\n", 1),
	} {
		r := run(t, "verify", "--request", file(t, text), "--secret-file", secret)
		if r.code != 0 || !strings.HasPrefix(r.out, "valid: v1 signature 2 matches secret 1; id evt_1, sent ") {
			t.Errorf("%s: exit code %d: %s%s\n%s", name, r.code, r.out, r.err, text)
		}
	}
	short := file(t, strings.TrimSuffix(wire, "\n}\n"))
	run(t, "verify", "--request", short, "--secret-file", secret).
		fails(2, short+": the body has 2 bytes, but Content-Length is 5: it is incomplete or was changed")
}

func TestVerify_Usage(t *testing.T) {
	t.Parallel()
	headers, body, secret := file(t, verifyHeaders), file(t, verifyBody), file(t, verifySecret)
	empty, broken := file(t, "\n"), file(t, verifySecret+"\nwhsk_pw-never-to-be-printed\n")
	request := []string{"--headers", headers, "--body", body}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{request, "no secret given: name its file with --secret-file"},
		{[]string{"--secret-file", secret}, "no request given: name it with --request, or with --headers and --body"},
		{append(request, "--secret-file", secret, "--request", headers), "give either --request or --headers and --body"},
		{append(request, "--secret-file", secret, "--at", "yesterday"), "--at must be a time such as 2026-11-25T10:30:00Z, or Unix seconds"},
		{append(request, "--secret-file", secret, "--tolerance", "-1s"), "--tolerance must not be negative"},
		{append(request, "--secret-file", secret, verifySecret), "verify takes no arguments; the secret is read from --secret-file"},
		{append(request, "--secret-file", empty), empty + " is empty"},
		{append(request, "--secret-file", broken), broken + `, secret 2: after "whsk_" the secret must be 64 bytes in padded base64: the private and the public half of an ed25519 key`},
		{[]string{"--request", headers, "--secret-file", secret}, headers + ": line 1 is not a request line, such as POST /hook HTTP/1.1; for headers alone, use --headers"},
		{[]string{"--secret-file", secret, "--public-key"}, "no secret in the file begins with whsk_: the others have no public key"},
	} {
		run(t, append([]string{"verify"}, tt.args...)...).fails(2, tt.want)
	}
	bad := file(t, "webhook-id: x\nPOST / HTTP/1.1\n")
	run(t, "verify", "--headers", bad, "--secret-file", secret).fails(2, bad+": line 2 is not of the form Name: value")
	run(t, "verify", "--public-key", "--secret-file", file(t, verifySecret+"\n"+verifyPrivate+"\n")).done(verifyPublic + "\n")
}
