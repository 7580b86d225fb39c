package files

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

// source is a directory opened for a backup.
type source struct {
	options Options
	owners  *owners

	mu   sync.RWMutex // guards root against Close while it is in use
	root int          // -1 after Close
}

// Close ends the source. Contents that are open stay usable; no new ones can be opened.
func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root < 0 {
		return nil
	}
	err := unix.Close(s.root)
	s.root = -1
	return err
}

var errClosed = fault.New(fault.State, "the source is closed")

// maxOpen is how many directories on the way from the root keep their descriptor; those further up are opened again when
// the walk returns to them, so depth is not bounded by the descriptor limit.
const maxOpen = 64

// walker is one walk. Its fields belong to the goroutine that called Walk.
type walker struct {
	*loader
	src   *source
	stack []*dir
	links map[inode]*links
}

type inode struct{ dev, ino uint64 }

// links is a group of hard links that is not complete yet.
type links struct {
	path                      string // the first link, as it was then:
	size, mtime, ctime, btime int64
	kind                      tree.Type
	seen                      uint32
}

// Walk implements tree.Source. A root that cannot be opened at all is an error; everything below it that cannot be read is
// an entry with a Problem. Objects on other file systems are not entered unless Options.CrossMounts.
func (s *source) Walk(ctx context.Context, emit func(tree.Item) error) error {
	w := &walker{loader: newLoader(s.options, s.owners), src: s, links: map[inode]*links{}}
	defer w.stop()
	root, err := w.openRoot()
	if err != nil {
		return err
	}
	w.stack = append(w.stack, root)
	if err := emit(tree.Item{Entry: root.self.Entry}); err != nil {
		return err
	}
	for len(w.stack) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := w.stack[len(w.stack)-1]
		if d.at == len(d.batch) && !w.more(d) {
			w.pop()
			continue
		}
		i := d.at
		d.at++
		n := &d.batch[i]
		if n.Type != tree.Dir {
			if err := emit(w.item(n)); err != nil {
				return err
			}
			continue
		}
		w.revive(d)
		w.readAhead(d, i)
		sub := w.enter(d, i)
		w.push(sub)
		w.readAhead(d, i+1)
		if err := emit(tree.Item{Entry: sub.self.Entry}); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) openRoot() (*dir, error) {
	w.src.mu.RLock()
	defer w.src.mu.RUnlock()
	if w.src.root < 0 {
		return nil, errClosed
	}
	var n node
	if err := stat(w.src.root, "", &n); err != nil {
		return nil, fault.New(fault.Unavailable, "the root cannot be read: %v", err)
	}
	d := w.load(w.src.root, ".", &n, 0, false)
	if d.fd < 0 {
		return nil, fault.New(fault.Unavailable, "the root cannot be read: %s", d.self.Problem)
	}
	return d, nil
}

func (w *walker) push(d *dir) {
	w.stack = append(w.stack, d)
	if far := len(w.stack) - maxOpen; far > 0 {
		up := w.stack[far-1]
		w.settle(up)
		up.close()
	}
}

func (w *walker) pop() {
	d := w.stack[len(w.stack)-1]
	w.settle(d)
	d.close()
	w.stack = w.stack[:len(w.stack)-1]
}

func (w *walker) stop() {
	for len(w.stack) > 0 {
		w.pop()
	}
}

// more makes d's next batch current.
func (w *walker) more(d *dir) bool {
	if d.next < d.names.len() {
		w.revive(d)
	}
	return w.advance(d)
}

// revive opens d again if it was closed for being far up.
func (w *walker) revive(d *dir) {
	if d.fd >= 0 || d.lost {
		return
	}
	w.src.mu.RLock()
	defer w.src.mu.RUnlock()
	fd, err := openNoAtime(func(f int) (int, error) { return openBeneath(w.src.root, d.self.Path, f, 0) },
		unix.O_RDONLY|unix.O_DIRECTORY)
	var is node
	if err == nil {
		if err = stat(fd, "", &is); err != nil || !sameInode(&is, &d.self) {
			unix.Close(fd)
			err = errors.Join(err, unix.ESTALE)
		}
	}
	if d.lost = err != nil; d.lost {
		for i := d.at; i < len(d.batch); i++ {
			if d.batch[i].Type == tree.Dir && d.batch[i].Problem == "" {
				d.batch[i].Problem = problemMoved
			}
		}
		return
	}
	d.fd = fd
}

// item completes the entry of something that is not a directory.
func (w *walker) item(n *node) tree.Item {
	if n.Problem == "" && n.Nlink > 1 {
		w.link(n)
	}
	if n.Type != tree.File {
		return tree.Item{Entry: n.Entry}
	}
	late := func(e *tree.Entry) { w.src.attributes(n.Path, e) }
	if n.Hardlink != "" {
		return tree.Item{Entry: n.Entry, Late: late}
	}
	return tree.Item{
		Entry: n.Entry, Late: late, Blocks: tree.BlocksOf(w.options.Blocks, n.Path),
		Open: func(ctx context.Context) (tree.Content, error) { return w.src.content(ctx, n) },
	}
}

// link finds the group of hard links that n belongs to. An inode number that was given to another file meanwhile must not
// join the old one's group: its content would be lost.
func (w *walker) link(n *node) {
	key := inode{n.Dev, n.Ino}
	g := w.links[key]
	if g == nil || g.kind != n.Type || g.btime != n.btime || n.btime == 0 && g.ctime != n.Ctime {
		w.links[key] = &links{path: n.Path, size: n.Size, mtime: n.Mtime, ctime: n.Ctime, btime: n.btime, kind: n.Type, seen: 1}
		return
	}
	n.Hardlink = g.path
	if n.Size != g.size || n.Mtime != g.mtime {
		n.Problem = "changed after its first link was read"
	}
	if g.seen++; g.seen >= n.Nlink {
		delete(w.links, key)
	}
}
