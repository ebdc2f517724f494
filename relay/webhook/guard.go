package webhook

import (
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// wireServer is Azure's metadata and agent endpoint. It lies in public address space, so no registry of special
// addresses has it (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
var wireServer = netip.MustParsePrefix("168.63.129.16/32")

// guard keeps deliveries away from internal addresses. It is asked for the address that is really dialled, after DNS and
// for each new connection, so that a name cannot change its mind in between.
type guard struct{ guardian *ssrf.Guardian }

// newGuard returns a guard that refuses all special-purpose addresses of the IANA registries but the allowed networks.
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

// CheckNetwork reports why a network cannot be one of SenderConfig.AllowNetworks.
func CheckNetwork(p netip.Prefix) error {
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		return fmt.Errorf("%s is not a network such as 10.0.0.0/8 or fd00::/8", p)
	case p.Bits() == 0:
		return fmt.Errorf("network %s would switch the protection off; name the networks of the receivers", p)
	}
	return nil
}

// blockedError is the guard's refusal.
type blockedError struct{ addr netip.Addr }

func (e *blockedError) Error() string {
	return fmt.Sprintf("%s is an internal or special-purpose address; delivery.allow_networks can allow it", e.addr)
}

// check refuses IPv4-mapped IPv6 addresses as well: net.Dialer turns them into IPv4 before it dials.
func (g *guard) check(addr netip.Addr) error {
	if err := g.guardian.SafeAddr(addr); err != nil {
		return &blockedError{addr}
	}
	return nil
}

// control is a net.Dialer's Control.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read dialled address: %w", err)
	}
	return g.check(ap.Addr())
}
