package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

// content is one regular file being read.
type content struct {
	src     *source
	fd      int
	walked  *node // as the walk saw it
	opened  node  // as it was when reading began
	extents []tree.Extent
	span    int   // the extent being read
	off     int64 // next byte to read
	end     int64 // end of that extent
	short   bool  // the file ended early
	// restless: it was being changed when reading began, too fast for timestamps to tell
	restless bool
	list     [256]byte // room for the names of attributes
}

// content opens the regular file that the walk saw as n. Its errors say why the content cannot be read, in a form that can
// stand as an entry's Problem.
func (s *source) content(ctx context.Context, n *node) (tree.Content, error) {
	if n.Problem == problemVanished || n.Problem == problemMoved {
		return nil, errors.New(n.Problem)
	}
	fd, err := s.openFile(n.Path)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil, errors.New(problemVanished)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, errReplaced
	case err != nil:
		return nil, fmt.Errorf("cannot be opened: %w", err)
	}
	c := &content{src: s, fd: fd, walked: n}
	if err := c.begin(ctx); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return c, nil
}

var errReplaced = errors.New("replaced by another object before it could be read")

// openFile opens a path for reading. Without O_NONBLOCK a fifo put in the file's place would block for ever.
func (s *source) openFile(path string) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.root < 0 {
		return -1, errClosed
	}
	return openNoAtime(func(f int) (int, error) { return openBeneath(s.root, path, f, 0) },
		unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
}

func (c *content) begin(ctx context.Context) error {
	if err := stat(c.fd, "", &c.opened); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if !sameInode(&c.opened, c.walked) {
		return errReplaced
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	// A write stamps the file before it copies: one in flight now has its time in c.opened already, and what it has yet to
	// copy would change the file without a trace. Looking for data waits for it, because both take the inode's lock.
	unix.Seek(c.fd, 0, unix.SEEK_DATA)
	if c.opened.Size > 0 && c.opened.blocks < uint64(c.opened.Size+511)/512 {
		var err error
		if c.extents, err = extents(c.fd, c.opened.Size); err != nil {
			return fmt.Errorf("its holes cannot be found: %w", err)
		}
	}
	if c.extents == nil {
		c.end = c.opened.Size
	}
	return nil
}

const (
	// tick is how coarse file timestamps can be: they advance with the kernel's timer.
	tick = 10 * time.Millisecond
	// second is the same for file systems that keep whole seconds, of which FAT keeps even ones only.
	second = 2 * time.Second
	// settleTries bounds how often a file that keeps changing is waited for.
	settleTries = 3
)

// settle lets the current tick of the kernel's clock pass if the file was changed within it: a later change in the same
// tick would get the same timestamps, and neither Check nor the next backup would notice it. A file that gives no rest is
// read all the same, and marked by Check.
func (c *content) settle(ctx context.Context) error {
	for try := 0; ; try++ {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return nil
		}
		wait := unsettled(now.Nano(), &c.opened.Entry)
		if c.restless = wait > 0; !c.restless || try == settleTries {
			return nil
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
		if err := stat(c.fd, "", &c.opened); err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
	}
}

// unsettled returns how long to wait until every change of a file gets other timestamps than these; 0 if that is so now.
// Either one may be set to anything, so both must be away from now.
func unsettled(now int64, e *tree.Entry) (wait time.Duration) {
	coarse := tick
	if e.Ctime%1e9 == 0 {
		coarse = second
	}
	for _, stamp := range []int64{e.Mtime, e.Ctime} {
		if age := time.Duration(now - stamp); age <= coarse && age >= -coarse {
			wait = max(wait, coarse-age+tick) // the clock that stamps files lags behind the one that wakes us
		}
	}
	return wait
}

// extents asks where the data of a sparse file is. nil means everywhere, or that the file system cannot tell.
func extents(fd int, size int64) ([]tree.Extent, error) {
	out := []tree.Extent{}
	for off := int64(0); off < size; {
		from, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break // only a hole is left
		}
		if err == unix.EINVAL || err == unix.ENOTSUP {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err == unix.ENXIO { // truncated meanwhile: Check will say so
			to, err = size, nil
		}
		if err != nil {
			return nil, err
		}
		from, to = max(from, off), min(to, size)
		if from >= to {
			break
		}
		out = append(out, tree.Extent{Off: from, Len: to - from})
		off = to
	}
	if len(out) == 1 && out[0].Off == 0 && out[0].Len == size {
		return nil, nil
	}
	return out, nil
}

// Extents is nil for a dense file.
func (c *content) Extents() []tree.Extent { return c.extents }

// Read never yields more or less than the size the file had when it was opened: of a file that shrinks the missing end is
// read as zeros, and Check tells.
func (c *content) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.off >= c.end {
		if c.span >= len(c.extents) {
			return 0, io.EOF
		}
		x := c.extents[c.span]
		c.span++
		c.off, c.end = x.Off, x.Off+x.Len
	}
	p = p[:min(int64(len(p)), c.end-c.off)]
	n, err := unix.Pread(c.fd, p, c.off)
	for err == unix.EINTR {
		n, err = unix.Pread(c.fd, p, c.off)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot be read: %w", err)
	}
	if n == 0 {
		c.short = true
		clear(p)
		n = len(p)
	}
	c.off += int64(n)
	return n, nil
}

// Check compares the file with what the walk saw. A file that changed between being listed and being opened is marked too:
// its content is one state, but its entry describes an older one.
func (c *content) Check() (now tree.Entry, problem string) {
	is := node{Entry: c.walked.Entry}
	if err := stat(c.fd, "", &is); err != nil {
		return c.walked.Entry, "cannot be read: " + err.Error()
	}
	now = is.Entry
	now.Extents = c.extents
	switch {
	case is.Size < c.opened.Size || c.short:
		problem = "shrank while it was read"
	case is.Size > c.opened.Size:
		problem = "grew while it was read"
	case is.Mtime != c.opened.Mtime:
		problem = "changed while it was read"
	case is.Ctime != c.opened.Ctime:
		problem = "was changed, renamed or replaced while it was read"
	case !sameState(c.walked, &is):
		problem = "changed between being listed and being read"
	case c.restless:
		problem = "was being changed when it was read"
	}
	if problem != "" {
		c.src.owners.name(&now)
	}
	var err error
	if now.Xattrs, err = xattrsAt(c.fd, "", c.list[:]); err != nil && problem == "" {
		problem = problemXattrs + err.Error()
	}
	return now, problem
}

// attributes completes the entry of the regular file at path with its extended attributes.
func (s *source) attributes(path string, e *tree.Entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fd, err := -1, error(errClosed)
	if s.root >= 0 {
		fd, err = openBeneath(s.root, path, unix.O_PATH, 0)
	}
	var is node
	if err == nil {
		defer unix.Close(fd)
		err = stat(fd, "", &is)
	}
	if err == nil && is.Type != tree.File {
		err = errReplaced
	}
	if err == nil {
		name := procPath(fd, "")
		e.Xattrs, err = xattrs(make([]byte, 256),
			func(b []byte) (int, error) { return unix.Listxattr(name, b) },
			func(attr string, b []byte) (int, error) { return unix.Getxattr(name, attr, b) })
	}
	if err == nil || e.Problem != "" {
		return
	}
	if e.Problem = problemXattrs + err.Error(); errors.Is(err, unix.ENOENT) {
		e.Problem = problemVanished
	}
}

// Close ends the reading.
func (c *content) Close() error {
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}
