package admin

import (
	"encoding/json"
	"io"
	"net/http"
)

// Check is the state of one thing that the relay cannot work without. Whoever asks sees Detail: it holds no URL with a
// password and no payload.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

type readinessReport struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// serveHealth says that the process runs, and no more: an orchestrator that restarts the relay because its database is
// away would only add to the trouble.
func serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n") // the client is gone if this fails, and there is nobody left to tell
}

// readiness answers 503 as soon as one check fails, and names each.
func readiness(ask func() []Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		report := readinessReport{Ready: true, Checks: append([]Check{}, ask()...)}
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
