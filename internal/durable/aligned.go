package durable

import "unsafe"

// BlockSize is the alignment that direct I/O asks of memory, offsets and lengths on every file system we know.
const BlockSize = 4096

// AlignedBuffer returns n bytes (a multiple of BlockSize) at an address that direct I/O accepts.
func AlignedBuffer(n int) []byte {
	p := make([]byte, n)
	if Aligned(p) {
		return p // large allocations begin at a page
	}
	p = make([]byte, n+BlockSize)
	skip := BlockSize - int(uintptr(unsafe.Pointer(&p[0]))%BlockSize)
	return p[skip : skip+n : skip+n]
}

// Aligned reports whether p's address and length suit direct I/O.
func Aligned(p []byte) bool {
	return len(p) > 0 && len(p)%BlockSize == 0 && uintptr(unsafe.Pointer(&p[0]))%BlockSize == 0
}
