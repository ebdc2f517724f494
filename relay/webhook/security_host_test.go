package webhook

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"testing"
)

// internalSpellings are internal addresses and localhost in every form that some client, resolver or URL parser accepts.
var internalSpellings = []string{
	// Full-width and other compatibility digits and letters, and ideographic full stops.
	"127.0.0.１", "１２７.０.０.１", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "①②⑦.⓪.⓪.①", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "１６９.２５４.１６９.２５４", "％31",
	"ｌｏｃａｌｈｏｓｔ", "LOCALHOST", "locaLhost.", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "api.ｌｏｃａｌｈｏｓｔ", "local\u00adhost", "local\u200bhost", "localhoſt", "localhost。",
	"localhost.localdomain", "ip6-localhost", "localhost6",
	// Percent-encoded.
	"127.0.0.%EF%BC%91", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1", "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "127.0.0.1%00.example.com", "localhost%2f",
	// Punycode of characters that IDNA maps.
	"xn--127-0-0-1.example.xn--l-", "xn--a", "xn--ls8h-",
	// Decimal, octal, hexadecimal and short forms, also in full-width digits.
	"2130706433", "017700000001", "0x7f000001", "0X7F.1", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "０x7f.1", "２１３０７０６４３３",
	"127.000.000.001", "127.0.0.1.", "127.0.0.１.", "127.0.0.1..", "1.0x7f",
	// IPv6: loopback, mapped, compatible, NAT64, 6to4, Teredo, zones.
	"[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:8.8.8.8]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
	"[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25]", "[fd00:ec2::254]", "[::１]", "[127.0.0.1]",
	"[fec0::1]", "::1",
	// A user name, a backslash or white space that changes the host.
	"example.com@127.0.0.1", "example.com:80@127.0.0.1", "127.0.0.1\\@example.com", "127.0.0.1\\.example.com", "127.0.0.1 .example.com", "127.0.0.1\x00.example.com",
	"exa mple.com", "exa\u3000mple.com", "example..com", ".example.com", ".", "。", "\u00ad",
}

// No form of an internal host passes the check, with or without a proxy.
func TestSecurity_HostSpellings(t *testing.T) {
	t.Parallel()
	via := newEgress(t, "127.0.0.1:9")
	for name, proxy := range map[string]string{"direct": "", "proxy": via.url} {
		s := sender(t, func(cfg *SenderConfig) { cfg.AllowNetworks, cfg.Proxy = nil, proxy })
		for _, host := range internalSpellings {
			for _, url := range []string{"https://" + host + "/hook", "http://" + host, "\u00a0https://" + host + ":8443/ "} {
				to, err := s.Target(&Endpoint{URL: url})
				if err == nil {
					t.Errorf("%s: %q is valid and would be sent to %s", name, url, to.url.Host)
				}
			}
		}
	}
	if asked := via.requests(); len(asked) > 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// The checked host is the one used for CONNECT, the Host header, SNI and certificate verification.
func TestSecurity_UsesTheCheckedHost(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var names, hosts []string
	srv := a.serveTLS(t, tls.NoClientCert, func(_ http.ResponseWriter, r *http.Request) {
		names, hosts = append(names, r.TLS.ServerName), append(hosts, r.Host)
	})
	via := newEgress(t, srv.Listener.Addr().String())
	s := sender(t, func(cfg *SenderConfig) { cfg.Proxy, cfg.AllowNetworks = via.url, nil })
	for _, spelling := range []string{"ｒｅｃｅｉｖｅｒ.example", "RECEIVER.EXAMPLE.", "receiver。example。", "re\u00adceiver.example", "%EF%BD%92eceiver.example"} {
		to := target(t, s, Endpoint{URL: "https://" + spelling + ":0443/hook", Credentials: Credentials{CA: a.pem}})
		if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
			t.Fatalf("%s: outcome = %+v", spelling, o)
		}
	}
	for _, name := range names {
		if name != "receiver.example" {
			t.Errorf("server name %q", name)
		}
	}
	for _, host := range hosts {
		if host != "receiver.example:443" {
			t.Errorf("host %q", host)
		}
	}
	if len(hosts) != 5 || !slices.Equal(slices.Compact(via.requests()), []string{"CONNECT receiver.example:443"}) {
		t.Errorf("%d deliveries; the proxy was asked for %q", len(hosts), via.requests())
	}
}

func TestCanonicalHost(t *testing.T) {
	t.Parallel()
	g, err := newGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "münchen.example": "xn--mnchen-3ya.example", "MÜNCHEN.example": "xn--mnchen-3ya.example",
		"xn--mnchen-3ya.example": "xn--mnchen-3ya.example", "faß.example": "xn--fa-hia.example", "例え.テスト": "xn--r8jz45g.xn--zckzah",
		"my_receiver": "my_receiver", "a--b.example": "a--b.example", "r3---sn.example": "r3---sn.example", "4chan.example": "4chan.example",
		"１２７.0.0.1": "127.0.0.1", "127.0.0.1.": "127.0.0.1", "0:0::1": "[::1]", "2606:4700:0:0::1111": "[2606:4700::1111]", "ｌocalhost": "localhost",
	} {
		got, err := canonicalHost(host, g)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", host, got, err, want)
		}
	}
}
