package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	tempPrefix = "iam-relay-pg-"
	lockName   = "lock"
)

// tempDir is a temporary directory whose lock is held for as long as this process lives and wants it. The system frees the
// lock of a process that is killed; by that, the next one knows what it may remove.
type tempDir struct {
	path string
	lock *os.File
}

// tempDir makes a temporary directory that the account owns, after removing those that killed processes have left. Where
// the usual place is closed to the account (a private TMPDIR of root), it is made in /tmp.
func (a *account) tempDir() (*tempDir, error) {
	parent := os.TempDir()
	if a.switched && a.mayEnter(parent) != nil {
		parent = "/tmp"
	}
	removeAbandoned(parent)
	path, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	d := &tempDir{path: path}
	if err := errors.Join(d.hold(), a.own(path)); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

// hold takes the lock under another name: a lock that others can see is already taken.
func (d *tempDir) hold() (err error) {
	if d.lock, err = os.Create(filepath.Join(d.path, "lock.new")); err != nil {
		return fmt.Errorf("lock a directory for PostgreSQL: %w", err)
	}
	if err := tryLock(d.lock); err != nil {
		return fmt.Errorf("lock a directory for PostgreSQL: %w", err)
	}
	return os.Rename(d.lock.Name(), filepath.Join(d.path, lockName))
}

func (d *tempDir) remove() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		d.lock.Close() // A second Close of the cluster comes here again; nothing was written.
	}
	return err
}

// removeAbandoned does what it can: what it may not remove is another user's, and theirs to remove. A server that still
// runs there, where the system could not end it with its process, ends itself when its files have gone.
func removeAbandoned(parent string) {
	locks, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*", lockName))
	if err != nil {
		return // The pattern is good.
	}
	for _, path := range locks {
		lock, err := os.Open(path)
		if err != nil {
			continue
		}
		if tryLock(lock) == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		lock.Close()
	}
}

func tryLock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
