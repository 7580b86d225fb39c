package crashfs

import (
	"bytes"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"strongroom/internal/durable"
)

// handle is an open file.
type handle struct {
	f      *FS
	n      *inode
	name   string
	direct bool
	closed bool
	excl   bool
	shared bool
}

var _ durable.File = (*handle)(nil)

// op runs an operation of an open file.
func (h *handle) op(k Kind, fn func(Fault) error) error {
	return h.f.do(k, h.name, func(x Fault) error {
		if h.closed {
			return bad(k, h.name, fs.ErrClosed)
		}
		return fn(x)
	})
}

func (h *handle) ReadAt(p []byte, off int64) (n int, err error) {
	err = h.op(Read, func(x Fault) error {
		if h.misaligned(p, off) {
			return bad(Read, h.name, unix.EINVAL)
		}
		if off < int64(len(h.n.data)) {
			n = copy(p, h.n.data[off:])
		}
		if x.Err != nil {
			n /= 2
			return bad(Read, h.name, x.Err)
		}
		if n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

// misaligned tells whether direct I/O would refuse.
func (h *handle) misaligned(p []byte, off int64) bool {
	return h.direct && (off%durable.BlockSize != 0 || !durable.Aligned(p))
}

func (h *handle) WriteAt(p []byte, off int64) (n int, err error) {
	err = h.op(Write, func(x Fault) error {
		if h.misaligned(p, off) {
			return bad(Write, h.name, unix.EINVAL)
		}
		err := x.Err
		if err != nil {
			p = p[:len(p)/2]
		}
		if room := h.room(); err == nil && off+int64(len(p)) > room {
			p, err = p[:max(0, min(int64(len(p)), room-off))], unix.ENOSPC
		}
		if n = len(p); n > 0 {
			h.resize(max(int64(len(h.n.data)), off+int64(n)))
			copy(h.n.data[off:], p)
			h.n.writes = append(h.n.writes, write{off: off, data: bytes.Clone(p)})
		}
		if err != nil {
			return bad(Write, h.name, err)
		}
		return nil
	})
	return n, err
}

// room is how long the file may become.
func (h *handle) room() int64 {
	if h.f.limit == 0 {
		return 1 << 60
	}
	return (h.n.blocks + max(0, h.f.limit-h.f.used)) * blockSize
}

// resize makes the data changeable and size bytes long.
func (h *handle) resize(size int64) {
	n := h.n
	if n.cow || int64(cap(n.data)) < size {
		c := size
		if size > int64(len(n.data)) {
			c = max(size, 2*int64(len(n.data)))
		}
		data := make([]byte, min(size, int64(len(n.data))), c)
		copy(data, n.data)
		n.data, n.cow = data, false
	}
	was := int64(len(n.data))
	n.data = n.data[:size]
	if size > was {
		clear(n.data[was:])
	}
	blocks := (size + blockSize - 1) / blockSize
	h.f.used += blocks - n.blocks
	n.blocks = blocks
}

func (h *handle) Truncate(size int64) error {
	return h.op(Truncate, func(Fault) error {
		if size > h.room() {
			return bad(Truncate, h.name, unix.ENOSPC)
		}
		h.resize(size)
		h.n.writes = append(h.n.writes, write{off: size})
		return nil
	})
}

func (h *handle) Reserve(size int64) error {
	return h.op(Reserve, func(Fault) error {
		if size > h.room() {
			return bad(Reserve, h.name, unix.ENOSPC)
		}
		if size > int64(len(h.n.data)) {
			h.resize(size)
			h.n.writes = append(h.n.writes, write{off: size})
		}
		return nil
	})
}

func (h *handle) Sync() error {
	return h.op(Sync, func(x Fault) error {
		n := h.n
		if x.Err != nil {
			n.limbo = append(n.limbo, n.writes...)
			n.writes = nil
			return bad(Sync, h.name, x.Err)
		}
		if len(n.limbo) == 0 {
			n.sure, n.cow = n.data, true
		} else {
			n.sure = settle(n.sure, n.writes, nil)
		}
		n.writes = nil
		return nil
	})
}

func (h *handle) Close() error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	h.unlock()
	h.n.opens--
	h.f.drop(h.n)
	return nil
}

func (h *handle) unlock() {
	if h.excl {
		h.n.exclusive, h.excl = false, false
	}
	if h.shared {
		h.n.shared, h.shared = h.n.shared-1, false
	}
}

func (h *handle) Lock(shared bool) error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.unlock()
	if h.n.exclusive || !shared && h.n.shared > 0 {
		return unix.EWOULDBLOCK
	}
	if shared {
		h.n.shared, h.shared = h.n.shared+1, true
	} else {
		h.n.exclusive, h.excl = true, true
	}
	return nil
}

func (h *handle) Linked() (bool, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.n.links > 0, nil
}
