package repo

import (
	"crypto/rand"
	"sync"
)

// packsPerDir is how many packs in a row go into one directory.
const packsPerDir = 64

// packDirs chooses the directories of new packs: the same one for some time, so that those who commit at once share its
// syncs, and then another, so that all fill evenly. The zero value is ready; safe for concurrent use.
type packDirs struct {
	mu   sync.Mutex
	dir  byte
	used int
}

// next returns the directory of a new pack, which is the first byte of its id.
func (d *packDirs) next() byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.used%packsPerDir == 0 {
		var b [1]byte
		rand.Read(b[:])
		d.dir = b[0]
	}
	d.used++
	return d.dir
}
