package subprocess

import "syscall"

// endWithParent lets the kernel send a signal to the child when the thread that started it ends, however that ends. A
// terminal's Ctrl-C does not reach the new process group: the parent stops its children in the order that it needs.
func endWithParent(attributes *syscall.SysProcAttr, signal syscall.Signal) {
	attributes.Setpgid = true
	attributes.Pdeathsig = signal
}
