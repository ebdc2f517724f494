package integration_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// largest is how much memory the relay may take, in kB, however large a transaction is.
const largest = 100 << 10

// fits checks that the relay has never taken more than limit, in kB. With the race detector it takes several times as much.
func (p *process) fits(limit int) {
	p.t.Helper()
	peak := p.peak()
	p.t.Logf("%d kB at the peak", peak)
	if !raceDetector && peak > limit {
		p.t.Errorf("the relay has taken %d kB, more than %d", peak, limit)
	}
}

// peak is the most that the relay has had of memory, in kB; 0 where the system does not say.
func (p *process) peak() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kB, err := strconv.Atoi(fields[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return kB
}
