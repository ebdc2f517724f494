package subprocess

import "syscall"

// endWithParent lets the kernel send a signal to the child when the thread that started it ends, however that ends. The group
// of its own keeps a terminal's Ctrl-C from the child: who started it stops it, in its own order.
func endWithParent(attributes *syscall.SysProcAttr, signal syscall.Signal) {
	attributes.Setpgid = true
	attributes.Pdeathsig = signal
}
