package cluster

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is who the server runs as. PostgreSQL refuses to run as root, so root lends it to an unprivileged user.
type account struct {
	name     string
	uid, gid int
	switched bool // not the account of this process
}

func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return &account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID == nil && errGID == nil {
			return &account{name: name, uid: uid, gid: gid, switched: true}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody to run it as: run this as another user")
}

func (a *account) attributes() *syscall.SysProcAttr {
	if !a.switched {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}}
}

func (a *account) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	if a.switched {
		if err := a.mayEnter(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return a.own(dir)
}

// mayEnter reports which directory on the way down to dir the account cannot pass.
func (a *account) mayEnter(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("look at directory %s: %w", at, err)
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		owned := ok && owner.Uid == uint32(a.uid)
		if info.Mode().Perm()&0o001 == 0 && !(owned && info.Mode().Perm()&0o100 != 0) {
			return fmt.Errorf("user %s, who runs PostgreSQL for root, cannot enter %s: choose a directory below one that others may enter (chmod o+x)", a.name, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func (a *account) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure PostgreSQL: %w", err)
	}
	return a.own(path)
}

func (a *account) own(path string) error {
	if !a.switched {
		return nil
	}
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		return fmt.Errorf("give %s to user %s: %w", path, a.name, err)
	}
	return nil
}
