package command

import (
	"errors"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
)

// The exit codes, which scripts rely on. The help text of the program lists them.
const (
	exitDone   = 0 // the command did what it was asked to; a dry run, too
	exitFailed = 1 // it could not, was interrupted, or reports a problem (check, status, verify, webhooks test)
	exitUsage  = 2 // wrong command line or configuration; nothing was done
)

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// exitCode separates mistakes in the command line and the configuration from failures.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*mapping.Error](err); ok {
		return exitUsage
	}
	return exitFailed
}
