package cluster

import "syscall"

// endWithParent lets the kernel stop the server when the thread that started it ends, however that ends. The group of its
// own keeps a terminal's Ctrl-C from the server: who started it stops it, in its own order.
func endWithParent(attributes *syscall.SysProcAttr) {
	attributes.Setpgid = true
	attributes.Pdeathsig = syscall.SIGQUIT
}
