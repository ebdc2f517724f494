//go:build unix && !linux

package subprocess

import "syscall"

// endWithParent keeps a terminal's Ctrl-C from the child: who started it stops it, in its own order. Only Linux can also end
// a child with its parent.
func endWithParent(attributes *syscall.SysProcAttr, _ syscall.Signal) { attributes.Setpgid = true }
