package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const maxURLBytes = 2048

// CheckURL reports why the relay would not send to the URL, and names the rule. It asks no DNS: what a name resolves to is
// checked when it is dialled. Only cfg's AllowHTTP and AllowNetworks matter. The error never contains the URL.
func CheckURL(rawURL string, cfg SenderConfig) error {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return err
	}
	_, err = parseURL(rawURL, cfg.AllowHTTP, g)
	return err
}

func parseURL(rawURL string, allowHTTP bool, g *guard) (*url.URL, error) {
	if rawURL == "" {
		return nil, errors.New("the URL is empty")
	}
	if len(rawURL) > maxURLBytes {
		return nil, fmt.Errorf("the URL is longer than %d bytes", maxURLBytes)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats what may be a secret.
		return nil, errors.New("the URL is malformed; write https://host/path, with special characters percent-encoded")
	}
	switch {
	case u.Scheme == "http" && !allowHTTP:
		return nil, errors.New("the URL must begin with https://; plain http needs delivery.allow_http = true")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL must begin with https://")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL must not contain a user name or password; send an Authorization header instead")
	case strings.Contains(rawURL, "#"):
		return nil, errors.New("the URL must not contain a fragment (#)")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("the URL's port must be a number from 1 to 65535")
		}
	}
	if err := checkHost(u, g); err != nil {
		return nil, err
	}
	return u, nil
}

func checkHost(u *url.URL, g *guard) error {
	host := u.Hostname()
	if strings.Contains(host, "%") {
		return errors.New("the URL's host must not contain a zone or a percent sign")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.check(addr)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndex(name, ".")+1:]
	// Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1. No top-level domain begins with a digit.
	if last == "" || last[0] >= '0' && last[0] <= '9' {
		return errors.New("the URL's host is neither a name nor an address in its usual form, as 192.0.2.1 or [2001:db8::1]")
	}
	if last == "localhost" {
		v4 := g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if v4 != nil && g.check(netip.IPv6Loopback()) != nil {
			return v4
		}
	}
	if port := u.Port(); port != "" {
		u.Host = strings.TrimSuffix(host, ".") + ":" + port
	} else {
		u.Host = strings.TrimSuffix(host, ".")
	}
	return nil
}
