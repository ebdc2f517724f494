package admin

import (
	"encoding/json"
	"io"
	"net/http"
)

// Check is the result of one readiness check. Detail is public: it must contain neither passwords nor payloads.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

type readinessReport struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// serveHealth reports only that the process is running. Restarting the relay does not bring back an unreachable database, so
// liveness must not depend on one.
func serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n") // fails only if the client has disconnected
}

// readiness responds with 503 if any check fails, and lists all checks.
func readiness(checks func() []Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		report := readinessReport{Ready: true, Checks: append([]Check{}, checks()...)}
		for _, check := range report.Checks {
			report.Ready = report.Ready && check.OK
		}
		body, err := json.Marshal(report)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "application/json")
		if !report.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(append(body, '\n')) // as above
	})
}
