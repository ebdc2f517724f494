package webhook

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	internal := SenderConfig{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, tt := range []struct {
		url  string
		cfg  SenderConfig
		want string // part of the error; "" for none
	}{
		{"https://example.com/hook?key=1", SenderConfig{}, ""},
		{"https://example.com.:8443/", SenderConfig{}, ""},
		{"https://münchen.example/", SenderConfig{}, ""},
		{"https://8.8.8.8/", SenderConfig{}, ""},
		{"https://[2606:4700::1111]:443/", SenderConfig{}, ""},
		{"https://4chan.example1.org/", SenderConfig{}, ""},
		{"http://example.com/", SenderConfig{AllowHTTP: true}, ""},
		{"https://127.0.0.1:9000/", internal, ""},
		{"https://localhost:9000/", internal, ""},

		{"", SenderConfig{}, "empty"},
		{"http://example.com/", SenderConfig{}, "allow_http"},
		{"ftp://example.com/", SenderConfig{AllowHTTP: true}, "https://"},
		{"example.com/hook", SenderConfig{}, "https://"},
		{"https:example.com", SenderConfig{}, "no host"},
		{"https:///hook", SenderConfig{}, "no host"},
		{"https://user:sesame@example.com/", SenderConfig{}, "user name"},
		{"https://sesame@example.com/", SenderConfig{}, "user name"},
		{"https://example.com/#part", SenderConfig{}, "fragment"},
		{"https://example.com/#", SenderConfig{}, "fragment"},
		{"https://example.com:0/", SenderConfig{}, "port"},
		{"https://example.com:70000/", SenderConfig{}, "port"},
		{"https://example.com:/", SenderConfig{}, "port"},
		{"https://exa mple.com/sesame", SenderConfig{}, "malformed"},
		{"https://example.com/%zzsesame", SenderConfig{}, "malformed"},
		{"https://[fe80::1%25eth0]/", SenderConfig{}, "zone"},
		{"https://" + strings.Repeat("a", 2048) + ".example/", SenderConfig{}, "longer"},
		{"https://2130706433/", SenderConfig{}, "usual form"},
		{"https://0x7f000001/", SenderConfig{}, "usual form"},
		{"https://0x7f.1/", SenderConfig{}, "usual form"},
		{"https://0177.0.0.1/", SenderConfig{}, "usual form"},
		{"https://127.1/", SenderConfig{}, "usual form"},
		{"https://127.0.0.1./", SenderConfig{}, "usual form"},
		{"https://127.0.0.1/", SenderConfig{}, "allow_networks"},
		{"https://localhost/", SenderConfig{}, "allow_networks"},
		{"https://api.LOCALHOST./", SenderConfig{}, "allow_networks"},
		{"https://169.254.169.254/latest/meta-data", SenderConfig{}, "allow_networks"},
		{"https://168.63.129.16/", SenderConfig{}, "allow_networks"},
		{"https://[::1]/", SenderConfig{}, "allow_networks"},
		{"https://[::ffff:8.8.8.8]/", SenderConfig{}, "allow_networks"},
	} {
		err := CheckURL(tt.url, tt.cfg)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.url, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one with %q", tt.url, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "sesame"):
			t.Errorf("%s: the error repeats a secret: %v", tt.url, err)
		}
	}
}

func TestParseURL_DropsTrailingDot(t *testing.T) {
	t.Parallel()
	g, err := newGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := parseURL("https://example.com.:8443/a", false, g)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host != "example.com:8443" {
		t.Errorf("host = %q", u.Host)
	}
}
