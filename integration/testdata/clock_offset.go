package time

// What a build of the relay for tests adds to Go's own package time: by how many seconds its time of day is wrong. The file that
// CLOCK_FILE names holds the number in 8 bytes of the machine's order.

import (
	"syscall"
	"unsafe"
)

var (
	noOffset    int64
	clockOffset = &noOffset
)

func init() {
	name, ok := syscall.Getenv("CLOCK_FILE")
	if !ok {
		return
	}
	file, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		panic("CLOCK_FILE: " + err.Error())
	}
	page, err := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("CLOCK_FILE: " + err.Error())
	}
	clockOffset = (*int64)(unsafe.Pointer(&page[0]))
}
