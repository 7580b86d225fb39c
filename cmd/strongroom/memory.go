package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// garbage is what a command that moves data may hold beside what an open vault needs: its buffers, and what the collector has
// not come to yet.
const garbage = 72 << 20

// frugal makes the collector keep to a bound. Without one it lets as much garbage pile up as there is memory in use; with a
// bound alone it would work more often than it needs to while there is little. What the vault itself holds (its index) does
// not count, so that a large vault does not keep the collector busy. Whoever sets GOGC or GOMEMLIMIT decides instead.
func frugal() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(200)
	debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + garbage)
}
