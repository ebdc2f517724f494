package webhook

import (
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// wireServer is Azure's metadata endpoint. It has a public address, so the registries of special-purpose addresses do not list
// it (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
var wireServer = netip.MustParsePrefix("168.63.129.16/32")

// guard protects internal addresses from requests (SSRF). It checks the address that is dialed, after DNS resolution and for each
// new connection, so that DNS rebinding cannot bypass it.
type guard struct{ guardian *ssrf.Guardian }

// newGuard returns a guard that blocks the special-purpose addresses of the IANA registries except for the allowed networks.
func newGuard(allowed []netip.Prefix) (*guard, error) {
	var v4, v6 []netip.Prefix
	for _, p := range allowed {
		if err := CheckNetwork(p); err != nil {
			return nil, err
		}
		if p.Addr().Is4() {
			v4 = append(v4, p.Masked())
		} else {
			v6 = append(v6, p.Masked())
		}
	}
	return &guard{ssrf.New(
		ssrf.WithAnyPort(),
		ssrf.WithAllowedV4Prefixes(v4...),
		ssrf.WithAllowedV6Prefixes(v6...),
		ssrf.WithDeniedV4Prefixes(wireServer),
	)}, nil
}

// CheckNetwork returns why p cannot be in SenderConfig.AllowNetworks.
func CheckNetwork(p netip.Prefix) error {
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		return fmt.Errorf("%s is not a network; write one such as 10.0.0.0/8 or fd00::/8", p)
	case p.Bits() == 0:
		return fmt.Errorf("network %s would disable the protection of internal addresses; list the networks of the receivers", p)
	}
	return nil
}

// blockedError reports an address that the guard blocks.
type blockedError struct{ addr netip.Addr }

func (e *blockedError) Error() string {
	return fmt.Sprintf("%s is an internal or special-purpose address; to allow it, add its network to delivery.allow_networks", e.addr)
}

// check also blocks IPv4-mapped IPv6 addresses, which net.Dialer converts to IPv4.
func (g *guard) check(addr netip.Addr) error {
	if err := g.guardian.SafeAddr(addr); err != nil {
		return &blockedError{addr}
	}
	return nil
}

// control is the Control of a net.Dialer.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("parse dialed address: %w", err)
	}
	return g.check(ap.Addr())
}
