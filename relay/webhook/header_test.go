package webhook

import (
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
			t.Errorf("%s: error %v, want that it is reserved", name, err)
		}
	}
	for _, tt := range []struct {
		headers map[string]string
		want    string
	}{
		{map[string]string{"": "sesame"}, "a name consists"},
		{map[string]string{"X Y": "sesame"}, "a name consists"},
		{map[string]string{"X-É": "sesame"}, "a name consists"},
		{map[string]string{"X-A": "sesame\r\nHost: evil"}, "line break"},
		{map[string]string{"X-A": "sesame\x00"}, "control character"},
		{map[string]string{"X-A": "1", "x-a": "2"}, "given twice"},
	} {
		err := CheckHeaders(tt.headers)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want one with %q", tt.headers, err, tt.want)
		} else if strings.Contains(err.Error(), "sesame") {
			t.Errorf("the error repeats a value: %v", err)
		}
	}
	err := CheckHeaders(map[string]string{"Host": "a", "Date": "b", "X-Fine": "c"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want both problems, got %v", err)
	}
}

func TestHeaderSafe(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"master": true, "my realm": true, "": false, "réalm": false, "a\nb": false, " a": false, "a ": false,
		strings.Repeat("a", 256): false,
	} {
		if got := headerSafe(value); got != want {
			t.Errorf("headerSafe(%q) = %t", value, got)
		}
	}
}
