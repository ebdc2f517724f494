package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is the real binary, running.
type process struct {
	cmd *exec.Cmd
}

var (
	reading    = regexp.MustCompile(`streaming the WAL`)
	standingBy = regexp.MustCompile(`on standby`)
)

func start(ctx context.Context, dir, binary, sourceURL, slot, webhooks string) (*process, error) {
	return startWith(ctx, dir, binary, sourceURL, slot, webhooks, "", true)
}

// startWith starts a relay with further options for delivery. The first one of several leads.
func startWith(ctx context.Context, dir, binary, sourceURL, slot, webhooks, delivery string, leads bool) (*process, error) {
	path := filepath.Join(dir, "bench.toml")
	text := fmt.Sprintf("[source]\nurl = %q\nslot = %q\n[delivery]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\n%s[admin]\nlisten = \"127.0.0.1:0\"\n%s",
		sourceURL, slot, delivery, webhooks)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "run", "--config", path)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if leads && reading.MatchString(lines.Text()) || !leads && standingBy.MatchString(lines.Text()) {
			go func() {
				for lines.Scan() {
					if !strings.Contains(lines.Text(), "level=INFO") {
						fmt.Fprintln(os.Stderr, lines.Text())
					}
				}
			}()
			return &process{cmd: cmd}, nil
		}
		if !strings.Contains(lines.Text(), "level=INFO") {
			fmt.Fprintln(os.Stderr, lines.Text())
		}
	}
	return nil, errors.Join(errors.New("the relay did not begin to read the log"), cmd.Wait())
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// kill ends a relay that waits for what never comes.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait() // it says that it was killed
	return nil
}

// usage is what the kernel says of the process: resident memory now and at its peak, in bytes, and processor time.
func (p *process) usage() (rss, peak int64, cpu time.Duration, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, 0, err
	}
	field := func(name string) int64 {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				return n << 10
			}
		}
		return 0
	}
	own, _, err := times(p.cmd.Process.Pid)
	return field("VmRSS"), field("VmHWM"), own, err
}

// times is the processor time of a process, and its parent.
func times(pid int) (used time.Duration, parent int, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, parent, nil
}

// children is the processor time that the living children of a process have used.
func children(pid int) time.Duration {
	var sum time.Duration
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if used, parent, err := times(child); err == nil && parent == pid {
			sum += used
		}
	}
	return sum
}
