package webhook

import (
	"net/http"
	"net/netip"
	"slices"
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
		{"https://exa%zzmple.com/sesame", SenderConfig{}, "malformed"},
		{"https://[fe80::1%25eth0]/", SenderConfig{}, "zone"},
		{"https://" + strings.Repeat("a", 2048) + ".example/", SenderConfig{}, "longer"},
		{"https://2130706433/", SenderConfig{}, "not a valid name or address"},
		{"https://0x7f000001/", SenderConfig{}, "not a valid name or address"},
		{"https://0x7f.1/", SenderConfig{}, "not a valid name or address"},
		{"https://0177.0.0.1/", SenderConfig{}, "not a valid name or address"},
		{"https://127.1/", SenderConfig{}, "not a valid name or address"},
		{"https://127.0.0.1./", SenderConfig{}, "allow_networks"},
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
			t.Errorf("%s: the error contains a secret: %v", tt.url, err)
		}
	}
}

// A URL from the IAM's tables is normalized as other clients do: trimmed, encoded and without its fragment.
func TestParseURL(t *testing.T) {
	t.Parallel()
	g, err := newGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"https://example.com.:8443/a":                        "https://example.com:8443/a",
		" \t\r\nhttps://example.com/a\n":                     "https://example.com/a",
		"\u00a0\u2003\u3000\u0085https://example.com/\u2028": "https://example.com/",
		"\ufeffhttps://example.com/\u200b\u2060\x00\x1f\x7f": "https://example.com/",
		"https://example.com/long/\n  path":                  "https://example.com/long/%20%20path",
		"https://example.com":                                "https://example.com",
		"HTTPS://EXAMPLE.com":                                "https://example.com",
		"https://example.com?a=b c":                          "https://example.com?a=b%20c",
		"https://example.com/?q=ü&r=\u00a0x":                 "https://example.com/?q=%C3%BC&r=%C2%A0x",
		"https://example.com/ü/a b?x={\"y\":1}|\\^`<>":       "https://example.com/%C3%BC/a%20b?x=%7B%22y%22:1%7D%7C%5C%5E%60%3C%3E",
		"https://example.com/%C3%BC/%2F?q=%20":               "https://example.com/%C3%BC/%2F?q=%20",
		"https://example.com/100%?off=5%&x=%zz&y=%4":         "https://example.com/100%25?off=5%25&x=%25zz&y=%254",
		"https://example.com/a?b=c#part":                     "https://example.com/a?b=c",
		"https://example.com#":                               "https://example.com",
		"https://example.com/a;b=1,2:3@4!$&'()*+~[]":         "https://example.com/a;b=1,2:3@4!$&'()*+~[]",
		"https://example.com/../a/./b//c?":                   "https://example.com/../a/./b//c?",
		"https://example.com/?u=https://other.example/":      "https://example.com/?u=https://other.example/",
		"https://example.com/a\x01b?\x02x":                   "https://example.com/a%01b?%02x",
	} {
		u, err := parseURL(raw, false, g)
		if err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		got := u.Scheme + "://" + u.Host + u.RequestURI()
		if u.Path == "" {
			got = strings.Replace(got, u.Host+"/", u.Host, 1)
		}
		if got != want {
			t.Errorf("%q is sent to %q, want %q", raw, got, want)
		}
		again, err := parseURL(got, false, g)
		if err != nil || again.RequestURI() != u.RequestURI() || again.Host != u.Host {
			t.Errorf("%q is parsed as another URL than %q: %v %v", got, raw, again, err)
		}
	}
	for _, empty := range []string{"", " ", "\u00a0\t", "#x"} {
		if _, err := parseURL(empty, false, g); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

// The request line is valid for any URL in the database.
func TestSend_EncodesURL(t *testing.T) {
	t.Parallel()
	var got []string
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.RequestURI) })
	s := sender(t, nil)
	for _, tail := range []string{"/?a=b c", "/a b/ü?q=ü x\n", "?q=100%#top"} {
		if o := s.Send(t.Context(), target(t, s, Endpoint{URL: " " + srv.URL + tail + "\u00a0"}), message()); o.Class != ClassDelivered {
			t.Errorf("%q: outcome = %+v", tail, o)
		}
	}
	if want := []string{"/?a=b%20c", "/a%20b/%C3%BC?q=%C3%BC%20x", "/?q=100%25"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}
