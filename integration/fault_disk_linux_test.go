package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// smallDisk makes a file system of so many bytes at a directory, owned as the one above it.
func smallDisk(t *testing.T, dir string, size int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can have a file system that is soon full")
	}
	info, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	options := fmt.Sprintf("size=%d,mode=0700,uid=%d,gid=%d", size, owner.Uid, owner.Gid)
	if err := errors.Join(os.MkdirAll(dir, 0o700), syscall.Mount("tmpfs", dir, "tmpfs", 0, options)); err != nil {
		t.Skipf("no file system that is soon full: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes all room that is left in a directory, until the returned function is called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	file, err := os.CreateTemp(dir, "filler")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(file.Name()); err != nil {
			t.Error(err)
		}
	}
}

// The disk that the outbox's tables are on is full for a while.
func TestFault_DiskFullOutbox(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	disk := filepath.Join(server.Dir(), "small")
	smallDisk(t, disk, 64<<20)
	tr := newWorld(t).try("outbox: its disk is full (SQLSTATE 53100)")
	admin := connect(t, server.URL("postgres"))
	for _, sql := range []string{`CREATE TABLESPACE small LOCATION '` + disk + `'`, `CREATE DATABASE outbox TABLESPACE small`} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	tr.elsewhere(server.URL("outbox"))
	p := tr.start()
	tr.begin()
	tr.inject(strength(10, 2, 1), func() {
		before := p.count("53100")
		free := fill(t, disk)
		defer free()
		eventually(t, "the outbox has no room", func() (bool, error) { return p.count("53100") > before, nil })
	})
	tr.end(p)
}

// What a transaction takes beyond the memory limit has no room in the directory for temporary files.
func TestFault_DiskFullSpill(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"full":    "temporary file of a large transaction: the disk is full (ENOSPC)",
		"limited": "temporary file of a large transaction: it may not grow (EFBIG)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spill := t.TempDir()
			if name == "full" {
				smallDisk(t, spill, 8<<20)
			}
			tr := newWorld(t).try(fault)
			tr.cfg.set("source.memory_limit", "64KiB").set("source.spill_dir", spill)
			p := tr.start()
			tr.begin()
			n := 0
			tr.inject(strength(10, 2, 1), func() {
				n++
				prefix := fmt.Sprintf("large-%d-", n)
				hinder := func() (end func()) { return fill(t, spill) }
				if name == "limited" {
					hinder = func() (end func()) { return p.limitFiles(16 << 10) }
				}
				printed, _ := p.log.read()
				before := strings.Count(printed, "temporary file of a large transaction failed")
				end := hinder()
				tr.exec(insertMany, tr.acme.ID, prefix, 1000)
				for _, id := range ids(t, tr.db, `SELECT id FROM users WHERE username LIKE $1`, prefix+"%") {
					tr.load.add(expect("user.created", id, tr.acme.ID))
				}
				eventually(t, "there is no room for it", func() (bool, error) {
					printed, _ := p.log.read()
					return strings.Count(printed, "temporary file of a large transaction failed") > before, nil
				})
				end()
			})
			tr.end(p)
			if left, err := filepath.Glob(filepath.Join(spill, "*")); err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %v (%v)", left, err)
			}
		})
	}
}

// limitFiles lets no file that the relay writes grow beyond a size, until the returned function is called.
func (p *process) limitFiles(size uint64) (end func()) {
	p.t.Helper()
	set := func(limit, old *syscall.Rlimit) {
		p.t.Helper()
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), syscall.RLIMIT_FSIZE,
			uintptr(unsafe.Pointer(limit)), uintptr(unsafe.Pointer(old)), 0, 0)
		if errno != 0 {
			p.t.Errorf("limit the relay's files: %v", errno)
		}
	}
	var before syscall.Rlimit
	set(nil, &before)
	set(&syscall.Rlimit{Cur: size, Max: before.Max}, nil)
	return func() { set(&before, nil) }
}
