//go:build unix && !linux

package cluster

import "syscall"

// endWithParent keeps a terminal's Ctrl-C from the server: who started it stops it, in its own order. Only Linux can also
// end a child with its parent.
func endWithParent(attributes *syscall.SysProcAttr) { attributes.Setpgid = true }
