package files

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// maxHandles is how many directories of a restore stay open for what is yet to be created in them.
const maxHandles = 64

// handle is an open directory of the restored tree.
type handle struct {
	path string
	fd   int // O_PATH
	refs int
	at   *list.Element // in handles.recent while cached
}

// handles caches the directories that a restore creates objects in, so that each object is made relative to its parent's
// descriptor.
type handles struct {
	root int

	mu     sync.Mutex
	byPath map[string]*handle
	recent list.List // of *handle, most recently used first
}

func newHandles(root int) *handles { return &handles{root: root, byPath: map[string]*handle{}} }

// get opens the directory at path below the root, or returns the handle that is open already. release it after use.
func (h *handles) get(path string) (*handle, error) {
	h.mu.Lock()
	if d := h.byPath[path]; d != nil {
		d.refs++
		h.recent.MoveToFront(d.at)
		h.mu.Unlock()
		return d, nil
	}
	h.mu.Unlock()
	fd, err := openBeneath(h.root, path, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.byPath[path]; d != nil { // another goroutine was faster
		unix.Close(fd)
		d.refs++
		return d, nil
	}
	d := &handle{path: path, fd: fd, refs: 1}
	d.at = h.recent.PushFront(d)
	h.byPath[path] = d
	for h.recent.Len() > maxHandles {
		h.drop(h.recent.Back().Value.(*handle))
	}
	return d, nil
}

// drop removes d from the cache; its last user closes it. The caller holds mu.
func (h *handles) drop(d *handle) {
	h.recent.Remove(d.at)
	d.at = nil
	delete(h.byPath, d.path)
	if d.refs == 0 {
		unix.Close(d.fd)
	}
}

func (h *handles) release(d *handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.refs--; d.refs == 0 && d.at == nil {
		unix.Close(d.fd)
	}
}

// close forgets all handles.
func (h *handles) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.recent.Len() > 0 {
		h.drop(h.recent.Back().Value.(*handle))
	}
}
