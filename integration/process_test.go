package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// transcript is everything that a process has printed.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed by the next Write
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

func (l *transcript) read() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.changed
}

// process is one run of the relay. If it dies with this test process, then because its standard error is gone.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	log    *transcript
	exited chan struct{} // closed when it has been reaped
	err    error         // how it ended
}

// launch starts the relay with a configuration and waits for nothing. When the test ends, what is left of it is killed, and
// what it printed is searched for races, for stack traces and for the secrets.
func launch(t testing.TB, cfg *config) *process {
	t.Helper()
	return launchProgram(t, binary, cfg.write(t), cfg.secrets)
}

// launchProgram does so with another build of the relay, and a configuration that is written already.
func launchProgram(t testing.TB, program, file string, secrets []string) *process {
	t.Helper()
	p := &process{t: t, log: newTranscript(), exited: make(chan struct{})}
	p.cmd = exec.Command(program, "run", "--config", file)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		hung := t.Failed() && p.quit() // a relay that hangs shows where
		p.kill()
		printed, _ := p.log.read()
		if hung {
			t.Logf("relay %d printed:\n%s", p.cmd.Process.Pid, tail(printed, 3000))
			return
		}
		for _, bad := range append([]string{"DATA RACE", "panic:", "goroutine 1 ["}, secrets...) {
			if strings.Contains(printed, bad) {
				t.Errorf("relay %d printed %q", p.cmd.Process.Pid, bad)
			}
		}
		if t.Failed() {
			t.Logf("relay %d printed:\n%s", p.cmd.Process.Pid, tail(printed, 100))
		}
	})
	return p
}

// start launches the relay and returns when it streams the WAL.
func start(t testing.TB, cfg *config) *process {
	t.Helper()
	p := launch(t, cfg)
	p.waitFor(within(t), "streaming the WAL")
	return p
}

// waitFor returns once the relay has printed a text.
func (p *process) waitFor(ctx context.Context, text string) {
	p.t.Helper()
	if err := p.printed(ctx, text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) printed(ctx context.Context, text string) error {
	for {
		printed, changed := p.log.read()
		if strings.Contains(printed, text) {
			return nil
		}
		select {
		case <-changed:
		case <-p.exited:
			if printed, _ := p.log.read(); strings.Contains(printed, text) {
				return nil
			}
			return fmt.Errorf("the relay ended (%w) without printing %q", p.err, text)
		case <-ctx.Done():
			return fmt.Errorf("the relay did not print %q: %w", text, context.Cause(ctx))
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// kill ends the relay as a crash does.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// quit lets the runtime print what all goroutines do. It reports whether the relay was still there to do so.
func (p *process) quit() bool {
	select {
	case <-p.exited:
		return false
	default:
	}
	p.signal(syscall.SIGQUIT)
	<-p.exited
	return true
}

// stop ends the relay in order, and it must end well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.wait(within(p.t))
	if p.err != nil {
		p.t.Errorf("the relay ended with %v after SIGTERM", p.err)
	}
}

// fails waits until the relay gives up by itself, and returns the error that it printed last.
func (p *process) fails() string {
	p.t.Helper()
	p.wait(within(p.t))
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		p.t.Errorf("the relay ended with exit code %d, not 1", code)
	}
	printed, _ := p.log.read()
	_, last, ok := strings.Cut(printed, "iam-relay: ")
	if !ok {
		p.t.Errorf("the relay printed no error:\n%s", tail(printed, 20))
	}
	return last
}

func (p *process) wait(ctx context.Context) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.t.Fatalf("the relay did not end: %v", context.Cause(ctx))
	}
}

var adminAddress = regexp.MustCompile(`admin=(\S+)`)

// get asks the admin interface.
func (p *process) get(path string) (status int, body string, err error) {
	printed, _ := p.log.read()
	match := adminAddress.FindStringSubmatch(printed)
	if match == nil {
		return 0, "", errors.New("the relay has not printed its admin address")
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+match[1]+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// metric waits until the scrape has a line that begins with the text.
func (p *process) metric(line string) {
	p.t.Helper()
	eventually(p.t, "metric "+line, func() (bool, error) {
		_, body, err := p.get("/metrics")
		return strings.Contains(body, "\n"+line), err
	})
}

// ready waits until readiness is as wanted, and returns the report.
func (p *process) ready(want bool) string {
	p.t.Helper()
	var report string
	eventually(p.t, fmt.Sprintf("ready: %t", want), func() (bool, error) {
		status, body, err := p.get("/readyz")
		report = body
		return (status == http.StatusOK) == want, err
	})
	return report
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func mustNotContain(t testing.TB, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q was printed", secret)
		}
	}
}
