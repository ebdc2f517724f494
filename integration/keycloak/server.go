// Package keycloak runs the real Keycloak, any of the pinned versions, on a private PostgreSQL, and drives it as its
// administrators and users do: through the Admin REST API and the login pages. Each operation of a Story says which events
// a subscriber wants from it. Nothing here knows of webhooks being sent.
package keycloak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/subprocess"
)

// The client of the realm master that Keycloak makes at its first start, for Admin. It logs in without a session, so that
// driving Keycloak writes no rows of sessions.
const (
	adminClient = "driver"
	adminSecret = "driver-secret" //nolint:gosec // of a server that lives for a test
)

// Options say what to run and where. Log is optional.
type Options struct {
	Version string
	// Cluster and Database hold Keycloak's tables. The database exists; Keycloak fills it, or migrates it to its version.
	Cluster  *cluster.Cluster
	Database string
	// Dir gets the log and what Keycloak writes.
	Dir string
	// Log gets the output of what installs Keycloak. The server's own log is the file LogFile.
	Log io.Writer
}

// Server is one Keycloak. Its methods must not be called concurrently.
type Server struct {
	Version string // changed by Upgrade

	options    Options
	home       string
	port       int
	management int // the port of the health checks
	process    *subprocess.Process
}

var errPortTaken = errors.New("a port is taken")

// Start installs the version if need be, starts it, and returns when it is ready. ctx bounds only the start.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	s := &Server{options: o}
	if err := s.install(ctx, o.Version); err != nil {
		return nil, err
	}
	const tries = 10
	var err error
	for range tries {
		if s.port, err = subprocess.FreePort(); err != nil {
			return nil, err
		}
		if s.management, err = subprocess.FreePort(); err != nil {
			return nil, err
		}
		if err = s.Restart(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// install makes a version the one that Restart starts.
func (s *Server) install(ctx context.Context, version string) error {
	installed, err := Install(ctx, version, s.options.Log)
	if err != nil {
		return err
	}
	if s.home, err = linkHome(installed, filepath.Join(s.options.Dir, "keycloak-"+version)); err != nil {
		return fmt.Errorf("make a home for Keycloak: %w", err)
	}
	s.Version = version
	return nil
}

// Upgrade stops the server and starts another version on the same ports and database, which that version migrates.
func (s *Server) Upgrade(ctx context.Context, version string) error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.install(ctx, version); err != nil {
		return err
	}
	return s.Restart(ctx)
}

// linkHome makes a home directory whose programs are those of the installation, and whose data is its own.
func linkHome(installed, home string) (string, error) {
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(installed)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		err := os.Symlink(filepath.Join(installed, entry.Name()), filepath.Join(home, entry.Name()))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return home, nil
}

// Restart starts the server again after Stop or Kill, on the same ports and database, and returns when it is ready.
func (s *Server) Restart(ctx context.Context) error {
	if s.process != nil && s.process.Running() {
		return fmt.Errorf("start Keycloak %s: it is running", s.Version)
	}
	logged := s.logFile().Size()
	file, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open Keycloak's log: %w", err)
	}
	cmd := s.command()
	// Not the file itself: the output then is a pipe, and the process counts as ended when all that kc.sh has started have ended.
	cmd.Stdout = struct{ io.Writer }{file}
	cmd.Stderr = cmd.Stdout
	// SIGTERM, because kc.sh waits for the server as its child, and forwards only this.
	if s.process, err = subprocess.Start(cmd, syscall.SIGTERM); err != nil {
		return errors.Join(err, file.Close())
	}
	go func() {
		<-s.process.Exited
		file.Close()
	}()
	if err := s.awaitReady(ctx, logged); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

func (s *Server) command() *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.home, "bin", "kc.sh"), "-Dkc.home.dir="+s.home, "start", "--optimized",
		"--cache=local", "--http-enabled=true", "--http-host=127.0.0.1", "--hostname-strict=false",
		fmt.Sprintf("--http-port=%d", s.port), fmt.Sprintf("--http-management-port=%d", s.management),
		"--log-level=INFO,io.smallrye.health:ERROR")
	cmd.Dir = s.home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "JAVA_HOME=" + os.Getenv("JAVA_HOME"), "LC_ALL=C",
		// Little memory, and a compiler for short lives.
		"JAVA_OPTS=-Xms64m -Xmx512m -XX:MaxMetaspaceSize=256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError",
		fmt.Sprintf("KC_DB_URL=jdbc:postgresql://127.0.0.1:%d/%s", s.options.Cluster.Port(), s.options.Database),
		"KC_DB_USERNAME=" + cluster.Superuser, "KC_DB_PASSWORD=unused",
		"KC_BOOTSTRAP_ADMIN_CLIENT_ID=" + adminClient, "KC_BOOTSTRAP_ADMIN_CLIENT_SECRET=" + adminSecret,
	}
	return cmd
}

// awaitReady asks for the server's health until it is good. logged is where the log of this start begins.
func (s *Server) awaitReady(ctx context.Context, logged int64) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready, err := s.ready(ctx); ready {
			return nil
		} else if ctx.Err() != nil {
			return fmt.Errorf("start Keycloak %s: not ready: %w; its log says:\n%s", s.Version, err, s.logFile().Tail(logged))
		}
		select {
		case <-s.process.Exited:
			cause, log := errors.New("it ended at once"), s.logFile().Tail(logged)
			if strings.Contains(log, "already bound") || strings.Contains(log, "Address already in use") {
				cause = errPortTaken
			}
			return fmt.Errorf("start Keycloak %s: %w; its log says:\n%s", s.Version, cause, log)
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (s *Server) ready(ctx context.Context) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/health/ready", s.management), http.NoBody)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK, nil
}

// URL is the server's address, without a slash at its end.
func (s *Server) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// stopTimeout bounds Stop: the server is killed after it.
const stopTimeout = time.Minute

// Stop ends the server in order.
func (s *Server) Stop() error {
	if s.process == nil || !s.process.Running() {
		return nil
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop Keycloak: %w", err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.process.Exited:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("stop Keycloak: it took more than %s; killed", stopTimeout), s.Kill())
	}
}

// Kill ends the server as a crash does. It may be called twice.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	return s.process.KillGroup()
}

// LogFile is the path of the server's log.
func (s *Server) LogFile() string { return filepath.Join(s.options.Dir, "keycloak-"+s.Version+".log") }

func (s *Server) logFile() subprocess.Log { return subprocess.Log(s.LogFile()) }
