package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/iam-relay/iam-relay/relay/config"
)

// readyTime is shorter than what container engines give a health check by default.
const readyTime = 5 * time.Second

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool
	Checks []struct {
		Name   string
		OK     bool
		Detail string
	}
}

// askReady asks the relay that listens there whether it is ready.
func askReady(ctx context.Context, listen string, out io.Writer) error {
	address, err := adminAddress(listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	// Without a proxy, whatever the environment says: the relay is on this machine.
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no relay listens on %s (admin.listen)", address)
	case err != nil:
		return fmt.Errorf("ask the relay on %s: %w", address, err)
	}
	defer res.Body.Close()
	var r readiness
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&r); err != nil {
		return fmt.Errorf("what listens on %s (admin.listen) is no relay: it answered with status %d", address, res.StatusCode)
	}
	if res.StatusCode == http.StatusOK && r.Ready {
		fmt.Fprintln(out, "ready")
		return nil
	}
	var reasons []string
	for _, c := range r.Checks {
		if !c.OK {
			reasons = append(reasons, c.Name+": "+c.Detail)
		}
	}
	return fmt.Errorf("the relay is not ready: %s", strings.Join(reasons, "; "))
}

// adminAddress is where a listener of this machine is reached.
func adminAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		key := config.Problem{Key: "admin.listen", Text: "must have an address with a fixed port for the relay to be asked"}
		return "", &config.Error{Problems: []config.Problem{key}}
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}
