package cluster

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Kill ends the postmaster with SIGKILL, as a crash does. Its children end by themselves, soon after.
func (c *Cluster) Kill() error {
	s := c.current()
	if s == nil || !s.Running() {
		return nil
	}
	if err := s.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	<-s.Exited
	return nil
}

// KillBackend ends one of the server's processes with SIGKILL, as a lack of memory does. The postmaster then ends all
// sessions and recovers from the WAL; KillBackend returns when connections are accepted again.
func (c *Cluster) KillBackend(ctx context.Context, pid int) error {
	witness, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer witness.Close(ctx)
	var ours bool
	if err := witness.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid).Scan(&ours); err != nil {
		return fmt.Errorf("look for backend %d: %w", pid, err)
	}
	if !ours {
		return fmt.Errorf("kill backend %d: the server in %s has no such process", pid, c.dir)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill backend %d: %w", pid, err)
	}
	// Until its own session is ended, the postmaster has not noticed, and would still let others in.
	_, err = witness.WaitForNotification(ctx)
	for s := c.current(); ctx.Err() == nil && s.Running(); {
		if conn, errConnect := c.Connect(ctx, "postgres"); errConnect == nil {
			return conn.Close(ctx)
		}
		if errPause := pause(ctx); errPause != nil {
			break
		}
	}
	return fmt.Errorf("kill backend %d: the server in %s did not recover, see %s: %w", pid, c.dir, c.LogFile(), errors.Join(err, context.Cause(ctx)))
}
