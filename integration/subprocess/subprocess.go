// Package subprocess starts servers as children that end with the process that started them, and finds ports for them.
package subprocess

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// Process is a running child.
type Process struct {
	PID int
	// Exited is closed when the child has been reaped and, where its output is not a file, when all processes that share the
	// output have ended.
	Exited chan struct{}

	process *os.Process
}

// Start starts a command in a new process group. On Linux, the child gets the signal when this process ends, whatever
// ends it. The goroutine keeps the thread that made the child until the child has ended: the kernel sends the parent-death
// signal when that THREAD ends, and Go ends threads as it likes unless they are locked.
func Start(cmd *exec.Cmd, orphaned syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	endWithParent(cmd.SysProcAttr, orphaned)
	p := &Process{Exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.Exited)
		err := cmd.Start()
		if err == nil {
			p.process, p.PID = cmd.Process, cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // The exit status says nothing that the server's log does not.
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Running reports whether the child has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Exited:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the child alone. It is not an error if the child has ended.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", signal, p.PID, err)
	}
	return nil
}

// KillGroup ends the child and all that it has started with SIGKILL, and returns when they have ended.
func (p *Process) KillGroup() error {
	if !p.Running() {
		return nil
	}
	if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", p.PID, err)
	}
	<-p.Exited
	return nil
}

// FreePort returns a port of 127.0.0.1 that nothing listens on at this moment. It is below the range from which systems take
// the ports of outgoing connections: a client that tries a stopped server again and again would else one day be given the
// server's own port, be connected to itself, and keep the server from starting.
func FreePort() (int, error) {
	const first, count, tries = 20000, 12000, 100
	var err error
	for range tries {
		port := first + rand.IntN(count)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
