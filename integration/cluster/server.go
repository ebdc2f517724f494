package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/subprocess"
)

var (
	errPortTaken = errors.New("the port is taken")
	errStillUsed = errors.New("processes of the killed server are still ending")
)

// stopSignals are PostgreSQL's shutdown modes.
// https://www.postgresql.org/docs/current/server-shutdown.html
var stopSignals = map[string]syscall.Signal{
	"smart":     syscall.SIGTERM,
	"fast":      syscall.SIGINT,
	"immediate": syscall.SIGQUIT,
}

// stopTimeout bounds every Stop: the server is killed after it. A smart stop waits for clients that may never leave.
const stopTimeout = 30 * time.Second

// launch starts the postmaster.
func (c *Cluster) launch() (*subprocess.Process, error) {
	logFile, err := os.OpenFile(c.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer logFile.Close()
	cmd := exec.Command(filepath.Join(c.binDir, "postgres"), "-D", c.dataPath())
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, c.environment(), logFile, logFile
	cmd.SysProcAttr = c.account.attributes()
	return subprocess.Start(cmd, syscall.SIGQUIT)
}

// Restart starts the server again, on the same data and port, after Stop or Kill, and returns when it accepts
// connections. It is an error while the server runs.
func (c *Cluster) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil && c.server.Running() {
		return fmt.Errorf("start PostgreSQL in %s: it is running", c.dir)
	}
	for {
		err := c.startOnce(ctx)
		if !errors.Is(err, errStillUsed) {
			return err
		}
		// The postmaster was killed and its children have not noticed yet: they hold its shared memory for a moment.
		if pause(ctx) != nil {
			return err
		}
	}
}

func (c *Cluster) startOnce(ctx context.Context) error {
	logged := c.logFile().Size()
	s, err := c.launch()
	if err != nil {
		return err
	}
	c.server = s
	for {
		// Over the socket in its own directory, so that the server that answers is surely this one. It opens after the port.
		conn, err := pgx.Connect(ctx, c.SocketURL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if !s.Running() {
			return c.startFailure(logged)
		}
		if pause(ctx) != nil {
			_ = s.Signal(syscall.SIGKILL) // It fails only where there is nothing left to kill.
			<-s.Exited
			return fmt.Errorf("start PostgreSQL in %s: it accepted no connection: %w; its log says:\n%s", c.dir, err, c.logFile().Tail(logged))
		}
	}
}

// startFailure reads from the log why the server ended at once; LC_ALL=C has made that English.
func (c *Cluster) startFailure(logged int64) error {
	tail := c.logFile().Tail(logged)
	cause := errors.New("it ended at once")
	switch {
	case strings.Contains(tail, "could not create any TCP/IP sockets"), strings.Contains(tail, "Address already in use"):
		cause = errPortTaken
	case strings.Contains(tail, "is still in use"):
		cause = errStillUsed
	}
	return fmt.Errorf("start PostgreSQL in %s: %w; its log says:\n%s", c.dir, cause, tail)
}

// pause waits a little between two looks at a server that has no way to call back.
func pause(ctx context.Context) error {
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop shuts the server down in one of PostgreSQL's modes, "fast", "immediate" or "smart", and returns when it has ended.
// A server that has not ended after 30 seconds is killed, and that is an error. Stopping a stopped server does nothing.
func (c *Cluster) Stop(mode string) error {
	signal, ok := stopSignals[mode]
	if !ok {
		return fmt.Errorf("stop PostgreSQL: unknown mode %q: want fast, immediate or smart", mode)
	}
	s := c.current()
	if s == nil || !s.Running() {
		return nil
	}
	if err := s.Signal(signal); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.Exited:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("stop PostgreSQL: mode %s took more than %s; killed", mode, stopTimeout), c.Kill())
	}
}

func (c *Cluster) current() *subprocess.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// PID is the process id of the postmaster, 0 when it is not running.
func (c *Cluster) PID() int {
	if s := c.current(); s != nil && s.Running() {
		return s.PID
	}
	return 0
}

// LogFile is the path of the server's log.
func (c *Cluster) LogFile() string { return filepath.Join(c.dir, "log") }

func (c *Cluster) logFile() subprocess.Log { return subprocess.Log(c.LogFile()) }
