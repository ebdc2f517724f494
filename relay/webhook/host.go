package webhook

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

var errHost = errors.New("the URL's host is neither a name nor an address in its usual form, as 192.0.2.1 or [2001:db8::1]")

// loopbackNames resolve to this machine by the hosts file of common systems, without the suffix localhost.
var loopbackNames = []string{
	"localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback",
}

// canonicalHost returns the host as it is dialed, named to a proxy, and sent in the Host header and in SNI, after checking
// exactly that. net/http converts names with IDNA by itself, but only after any check of the URL: "１２７.０.０.１" in
// full-width digits would become 127.0.0.1 behind the guard's back. In direct mode the guard sees every address that is
// dialed; behind a proxy this check is all that the relay can do.
func canonicalHost(host string, g *guard) (string, error) {
	if strings.Contains(host, "%") {
		return "", errors.New("the URL's host must not contain a zone or a percent sign")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addressHost(addr, g)
	}
	name, err := asciiName(host)
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(name, ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		return addressHost(addr, g)
	}
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	// Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1. No top-level domain begins with a digit.
	if slices.Contains(labels, "") || last[0] >= '0' && last[0] <= '9' {
		return "", errHost
	}
	if len(name) > 253 || slices.ContainsFunc(labels, func(l string) bool { return len(l) > 63 }) {
		return "", errors.New("the URL's host is longer than a DNS name can be")
	}
	if last == "localhost" || slices.Contains(loopbackNames, name) {
		v4 := g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if v4 != nil && g.check(netip.IPv6Loopback()) != nil {
			return "", v4
		}
	}
	return name, nil
}

func addressHost(addr netip.Addr, g *guard) (string, error) {
	if err := g.check(addr); err != nil {
		return "", err
	}
	if addr.Is4() {
		return addr.String(), nil
	}
	return "[" + addr.String() + "]", nil
}

// asciiName converts a name for lookup: lower case, full-width and other compatibility characters mapped, internationalized
// labels in punycode. Names in plain ASCII keep what the profile would refuse and DNS resolves all the same, such as
// underscores; their punycode must be that of a valid label, lest another resolver reads something else out of it.
func asciiName(host string) (string, error) {
	lower := strings.ToLower(host)
	ascii := !strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 })
	if !ascii || strings.HasPrefix(lower, "xn--") || strings.Contains(lower, ".xn--") {
		name, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("the URL's host is not a valid internationalized domain name (IDNA)")
		}
		lower = name
	}
	if strings.ContainsFunc(lower, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	}) {
		return "", errHost
	}
	return lower, nil
}
