package subprocess

import (
	"os"
	"strings"
)

// Log is the path of a server's log file.
type Log string

// Size returns the size of the log in bytes; 0 before the first start.
func (l Log) Size() int64 {
	info, err := os.Stat(string(l))
	if err != nil {
		return 0
	}
	return info.Size()
}

// Tail returns what was logged since the log had the given size, or why it cannot be read.
func (l Log) Tail(since int64) string {
	log, err := os.ReadFile(string(l))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(log[min(since, int64(len(log))):]))
}
