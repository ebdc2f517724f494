package webhook

import (
	"net/netip"
	"testing"
)

// deniedRanges are the networks that are blocked by default.
var deniedRanges = []string{
	"127.0.0.0/8", "0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
	"198.18.0.0/15", "192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "192.88.99.0/24", "224.0.0.0/4",
	"240.0.0.0/4", "255.255.255.255/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "169.254.169.254/32",
	"::1/128", "::/128", "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001::/23",
	"2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	"fd00:ec2::254/128", "4000::/3", "8000::/1",
}

func TestGuard_DeniedRanges(t *testing.T) {
	t.Parallel()
	g, err := newGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range deniedRanges {
		p := netip.MustParsePrefix(r)
		for _, addr := range []netip.Addr{p.Addr(), last(p)} {
			if err := g.check(addr); err == nil {
				t.Errorf("%s of %s is not blocked", addr, r)
			}
			if err := g.control("tcp", netip.AddrPortFrom(addr, 443).String(), nil); err == nil {
				t.Errorf("%s of %s can be dialed", addr, r)
			}
		}
	}
	for _, a := range []string{"8.8.8.8", "1.1.1.1", "168.63.129.15", "2606:4700::1111", "2a00:1450:4001:81b::200e"} {
		if err := g.check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("public address %s: %v", a, err)
		}
	}
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func TestGuard_AllowedNetworks(t *testing.T) {
	t.Parallel()
	g, err := newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("fd12::/16")})
	if err != nil {
		t.Fatal(err)
	}
	for addr, allowed := range map[string]bool{
		"10.1.255.255": true, "10.2.0.0": false, "fd12:34::1": true, "fd13::1": false, "127.0.0.1": false,
	} {
		if err := g.check(netip.MustParseAddr(addr)); (err == nil) != allowed {
			t.Errorf("%s: allowed = %t, want %t (%v)", addr, err == nil, allowed, err)
		}
	}
}

func TestGuard_InvalidNetworks(t *testing.T) {
	t.Parallel()
	for _, p := range []netip.Prefix{
		{}, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("::ffff:10.0.0.0/104"),
	} {
		if _, err := NewSender(SenderConfig{AllowNetworks: []netip.Prefix{p}}); err == nil {
			t.Errorf("network %s is valid", p)
		}
	}
}
