package files

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"strongroom/internal/tree"
)

const (
	// batchSize is how many names of a directory are looked at in one go, and so what bounds memory beside the names.
	batchSize = 512
	// splitAt is the batch from which two goroutines share the work.
	splitAt = 128
	// lookAhead is how many of the coming subdirectories of each open directory are read in advance, maxAhead how many of
	// the whole walk.
	lookAhead = 3
	maxAhead  = 48
	// listTries bounds how often a directory that changes while it is listed is listed again.
	listTries = 3
)

// Problems of directories and of whatever cannot be looked at. They are shown to users.
const (
	problemMount    = "another file system is mounted here; its content is not part of this recovery point"
	problemVanished = "vanished before it could be read"
	problemList     = "changed while it was listed; entries may be missing"
	problemTime     = "its modification time cannot be kept: it is not between the years 1678 and 2262"
	problemXattrs   = "its extended attributes cannot be read: "
	problemMoved    = "its directory was moved or removed while it was read"
)

// dir is a directory on the way from the root to where the walk is, or one read ahead of it.
type dir struct {
	self  node
	fd    int // -1: could not be opened, or closed because the tree is deep
	lost  bool
	names names
	next  int    // first name that is in no batch yet
	batch []node // names[next-len(batch):next]
	at    int    // first node of batch not emitted yet
	whole bool   // names is filled

	follow chan []node    // the batch after this one, being looked at
	ahead  map[int]*ahead // subdirectories of this batch being read, by index
}

// ahead is a directory being read by another goroutine.
type ahead struct {
	done chan struct{}
	dir  *dir
}

// loader opens and lists directories and looks at what is in them.
type loader struct {
	options Options
	owners  *owners
	buffers sync.Pool     // of *[]byte for getdents
	slots   chan struct{} // one per directory read ahead
	running chan struct{} // one per goroutine at work
}

func newLoader(o Options, names *owners) *loader {
	l := &loader{options: o, owners: names, slots: make(chan struct{}, maxAhead), running: make(chan struct{}, runtime.GOMAXPROCS(0))}
	l.buffers.New = func() any { b := make([]byte, 64<<10); return &b }
	return l
}

// load opens the directory name in parent, which was seen as n, lists it and looks at its first batch. It never fails: what
// cannot be done is the entry's Problem. inAdvance leaves large directories unlisted, to be finished by list.
func (l *loader) load(parent int, name string, n *node, mount uint64, inAdvance bool) *dir {
	d := &dir{self: *n, fd: -1}
	if n.Problem != "" {
		return d
	}
	if parent < 0 {
		d.self.Problem = problemMoved
		return d
	}
	if mount != 0 && n.mount != mount && !l.options.CrossMounts {
		d.self.Problem = problemMount
		return d
	}
	fd, err := openNoAtime(func(f int) (int, error) { return openat(parent, name, f, 0) },
		unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	switch {
	case err == unix.ENOENT:
		d.self.Problem = problemVanished
		return d
	case err != nil:
		d.self.Problem = "its content cannot be read: " + err.Error()
		return d
	}
	d.fd = fd
	if err := stat(fd, "", &d.self); err != nil {
		d.self.Problem = "cannot be read: " + err.Error()
	} else if mount != 0 && d.self.mount != mount && !l.options.CrossMounts {
		d.self.Problem = problemMount // opening it made the automounter work
	}
	if d.self.Problem != "" {
		d.close()
		return d
	}
	l.owners.name(&d.self.Entry)
	if d.self.Xattrs, err = xattrsAt(fd, "", make([]byte, 256)); err != nil {
		d.self.Problem = problemXattrs + err.Error()
	} else if d.self.far {
		d.self.Problem = problemTime
	}
	l.list(d, inAdvance)
	return d
}

// list reads the names of d and looks at the first batch.
func (l *loader) list(d *dir, inAdvance bool) {
	buf := l.buffers.Get().(*[]byte)
	defer l.buffers.Put(buf)
	for try := 1; ; try++ {
		got, ok, err := readNames(d.fd, *buf, inAdvance)
		if !ok && err == nil {
			return
		}
		if err != nil {
			d.self.Problem = "its content cannot be listed: " + err.Error()
			d.close()
			return
		}
		d.names, d.whole = got, true
		// A rename within a directory that is being listed can hide the name from the listing.
		was := d.self
		if err := stat(d.fd, "", &d.self); err != nil || was.Mtime == d.self.Mtime && was.Ctime == d.self.Ctime {
			break
		}
		if try == listTries {
			d.self.Problem = problemList
			break
		}
	}
	d.batch = l.look(d, 0)
	d.next = len(d.batch)
}

// look stats the batch that begins with name i.
func (l *loader) look(d *dir, i int) []node {
	batch := make([]node, min(batchSize, d.names.len()-i))
	if len(batch) < splitAt {
		l.lookAt(d, i, batch)
		return batch
	}
	half := len(batch) / 2
	var wg sync.WaitGroup
	wg.Go(func() { l.lookAt(d, i, batch[:half]) })
	l.lookAt(d, i+half, batch[half:])
	wg.Wait()
	return batch
}

func (l *loader) lookAt(d *dir, i int, batch []node) {
	buf := make([]byte, 256)
	for j := range batch {
		n := &batch[j]
		name := d.names.name(i + j)
		n.Path = join(d.self.Path, name)
		n.Type = kindOf(d.names.kind(i + j)) // in case nothing more can be learnt
		if d.lost {
			n.Problem = problemMoved
			continue
		}
		err := stat(d.fd, name, n)
		if err == nil && n.Type == tree.Symlink {
			n.Link, err = readlink(d.fd, name)
		}
		if err != nil {
			n.Problem = problemOf(err)
			continue
		}
		if n.Type == 0 {
			n.Problem = "is of a type that cannot be kept"
			continue
		}
		l.owners.name(&n.Entry)
		if n.far {
			n.Problem = problemTime
		}
		if n.Type == tree.Dir || n.Type == tree.File {
			continue // read through its own descriptor, when it is opened
		}
		if n.Xattrs, err = xattrsAt(d.fd, name, buf); err == unix.ENOENT {
			n.Problem = problemVanished
		} else if err != nil {
			n.Problem = problemXattrs + err.Error()
		}
	}
}

func problemOf(err error) string {
	if err == unix.ENOENT {
		return problemVanished
	}
	return "cannot be read: " + err.Error()
}

// kindOf translates getdents' type; a file system that does not tell gets File, the type that promises least.
func kindOf(k uint8) tree.Type {
	switch k {
	case unix.DT_DIR:
		return tree.Dir
	case unix.DT_LNK:
		return tree.Symlink
	case unix.DT_FIFO:
		return tree.Fifo
	case unix.DT_SOCK:
		return tree.Socket
	case unix.DT_CHR:
		return tree.CharDev
	case unix.DT_BLK:
		return tree.BlockDev
	}
	return tree.File
}

// readAhead starts reading subdirectories of d's batch from index i on, as far as there are free slots.
func (l *loader) readAhead(d *dir, i int) {
	if d.fd < 0 {
		return
	}
	for ; i < len(d.batch) && len(d.ahead) < lookAhead; i++ {
		n := &d.batch[i]
		if n.Type != tree.Dir || n.Problem != "" || d.ahead[i] != nil {
			continue
		}
		select {
		case l.slots <- struct{}{}:
		default:
			return
		}
		if d.ahead == nil {
			d.ahead = map[int]*ahead{}
		}
		a := &ahead{done: make(chan struct{})}
		d.ahead[i] = a
		name := d.names.name(d.next - len(d.batch) + i)
		go func() {
			defer close(a.done)
			l.running <- struct{}{}
			a.dir = l.load(d.fd, name, n, d.self.mount, true)
			<-l.running
		}()
	}
}

// enter returns the subdirectory at index i of d's batch, loaded.
func (l *loader) enter(d *dir, i int) *dir {
	a := d.ahead[i]
	if a == nil {
		return l.load(d.fd, d.names.name(d.next-len(d.batch)+i), &d.batch[i], d.self.mount, false)
	}
	<-a.done
	delete(d.ahead, i)
	<-l.slots
	if a.dir.fd >= 0 && !a.dir.whole {
		l.list(a.dir, false)
	}
	return a.dir
}

// advance makes d's next batch current. false: there is none.
func (l *loader) advance(d *dir) bool {
	if d.next >= d.names.len() {
		return false
	}
	if d.follow != nil {
		d.batch, d.follow = <-d.follow, nil
	} else {
		d.batch = l.look(d, d.next)
	}
	d.next += len(d.batch)
	d.at = 0
	if from := d.next; from < d.names.len() {
		c := make(chan []node, 1)
		d.follow = c
		go func() { c <- l.look(d, from) }()
	}
	return true
}

// settle waits for everything that uses d's descriptor in the background.
func (l *loader) settle(d *dir) {
	for i, a := range d.ahead {
		<-a.done
		a.dir.close()
		delete(d.ahead, i)
		<-l.slots
	}
	if d.follow != nil {
		d.follow <- <-d.follow
	}
}

func (d *dir) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
}
