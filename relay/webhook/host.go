package webhook

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

var errHost = errors.New("the host in the URL is not a valid name or address; write it like example.com, 192.0.2.1 or [2001:db8::1]")

// loopbackNames are names other than *.localhost that the hosts files of common systems resolve to this machine.
var loopbackNames = []string{
	"localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback",
}

// canonicalHost checks the host and returns the form that is dialed, passed to a proxy, and sent in the Host header and in SNI.
// Without this, net/http would apply IDNA after the check: "１２７.０.０.１" in full-width digits would become 127.0.0.1. Without
// a proxy the guard also checks every dialed address; with a proxy this check is the only one.
func canonicalHost(host string, g *guard) (string, error) {
	if strings.Contains(host, "%") {
		return "", errors.New("the host in the URL must not contain a zone or a percent sign; remove it")
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
	// Resolvers parse 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1. No top-level domain begins with a digit.
	if slices.Contains(labels, "") || last[0] >= '0' && last[0] <= '9' {
		return "", errHost
	}
	if len(name) > 253 || slices.ContainsFunc(labels, func(l string) bool { return len(l) > 63 }) {
		return "", errors.New("the host in the URL is longer than a DNS name can be; correct it")
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

// asciiName converts a name for DNS lookup: to lower case, with compatibility characters mapped and internationalized labels in
// punycode. ASCII names may contain underscores, which IDNA rejects but DNS resolves. Their punycode must decode to a valid
// label, so that no resolver interprets it differently.
func asciiName(host string) (string, error) {
	lower := strings.ToLower(host)
	ascii := !strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 })
	if !ascii || strings.HasPrefix(lower, "xn--") || strings.Contains(lower, ".xn--") {
		name, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("the host in the URL is not a valid internationalized domain name (IDNA); correct it")
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
