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

// readyTime is shorter than the default timeout of health checks in container engines.
const readyTime = 5 * time.Second

// readiness is the response of /readyz.
type readiness struct {
	Ready  bool `json:"ready"`
	Checks []struct {
		Name   string `json:"name"`
		OK     bool   `json:"ok"`
		Detail string `json:"detail,omitempty"`
	} `json:"checks"`
}

// askReady asks the relay that listens on the address whether it is ready.
func (env *environment) askReady(ctx context.Context, listen string) error {
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
	// The relay is on this machine, so no proxy of the environment is used.
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no relay listens on %s (admin.listen); start it with iam-relay run", address)
	case err != nil:
		return fmt.Errorf("ask the relay on %s: %w", address, err)
	}
	defer res.Body.Close()
	var r readiness
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&r); err != nil {
		return fmt.Errorf("the server on %s (admin.listen) is not a relay: it answered with status %d", address, res.StatusCode)
	}
	r.Ready = r.Ready && res.StatusCode == http.StatusOK
	if env.json {
		if err := writeObject(env.out, r); err != nil {
			return err
		}
	}
	if r.Ready {
		if !env.json {
			fmt.Fprintln(env.out, "ready")
		}
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

// adminAddress is the address to reach a listener of this machine.
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
