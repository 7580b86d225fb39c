package files

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// directFrom is the least write that bypasses the page cache. Copying large files through the cache costs more than
	// everything else a restore does with them.
	directFrom = 1 << 20
	// directAlign is the alignment of memory, offset and length that every file system accepts.
	directAlign = 4096
)

// direct returns a second descriptor of the file for a write that bypasses the page cache, or -1 where that is not possible.
// Space for the whole file is taken first: then writes at any offset neither extend the file nor scatter it. So a file with
// holes is not written like this: it may be larger than the disk.
func (w *writer) direct(p []byte, off int64) int {
	if w.sparse || len(p) < directFrom || off%directAlign != 0 || len(p)%directAlign != 0 || uintptr(unsafe.Pointer(&p[0]))%directAlign != 0 {
		return -1
	}
	w.opening.Do(func() {
		w.directFD = -1
		if unix.Fallocate(w.fd, 0, 0, w.size) != nil {
			return
		}
		// The very file, not whatever its name leads to now.
		if fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(w.fd), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0); err == nil {
			w.directFD, w.hasDirect = fd, true
		}
	})
	return w.directFD
}

// closeDirect closes the second descriptor, if there is one.
func (w *writer) closeDirect() {
	if w.hasDirect {
		unix.Close(w.directFD)
		w.hasDirect = false
	}
}
