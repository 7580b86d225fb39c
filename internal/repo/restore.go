package repo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/fault"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// The shape of a restore: the plan reads the manifest, creates directories and everything without content, and gathers
// which chunks the next files need; windows of these are read in the order of the packs by workers, which create the
// files, write the chunks to wherever they belong, and close each file with its last byte.
const (
	windowBytes = 64 << 20 // content planned at once
	windowUses  = 8192
)

// restore is one running Restore.
type restore struct {
	p      *Point
	pin    *pin
	target tree.Target
	opts   RestoreOptions
	runs   chan run
	pieces chan struct{} // open pieces of large files

	entries, bytes, read atomic.Int64
	path                 atomic.Pointer[string]

	mu     sync.Mutex
	report RestoreReport

	// the plan's
	window  *window
	links   map[string]string // first links that were left out → the link that took their place
	missing bool              // a part of the manifest is lost, and with it perhaps directories above what is not
	gaps    int               // how many
	open    []string          // the last directory, and those above it
}

// use says where a part of a chunk goes.
type use struct {
	file     *outFile
	off      int64 // in the file
	from, to uint32
	hash     seal.Hash // of the chunk that belongs here
}

// outFile is a regular file being restored.
type outFile struct {
	r     *restore
	entry *tree.Entry

	once    sync.Once
	w       tree.Writer // nil when the target refused the file
	parts   *assembler  // for large dense files
	err     error
	pending atomic.Int64 // uses to come, plus one while it is being planned
	lost    atomic.Pointer[error]
}

// lose notes that a part of the content is lost; the first reason counts.
func (f *outFile) lose(err error) { f.lost.CompareAndSwap(nil, &err) }

// Restore writes the recovery point, or a part of it, into a target. Every byte is authenticated and verified before it is
// written. What the target refuses and what the recovery point does not hold faithfully is in the report; any other failure
// ends the restore, and the target is then incomplete. When Restore returns nil the target's content is durable, as far as its
// Finish makes it so.
//
// Damage does not end it: a chunk that cannot be read at one place is looked for at others, and a file that needs one that is
// nowhere intact is left out, as are the entries of a damaged page of the manifest. The report names them among what is
// incomplete and counts them as damaged; everything else is restored. What was found damaged goes into quarantine.
func (p *Point) Restore(ctx context.Context, target tree.Target, o RestoreOptions) (RestoreReport, error) {
	pin, err := p.begin(ctx)
	if err != nil {
		return RestoreReport{}, err
	}
	defer pin.end()
	defer p.r.keepHealth(ctx)
	r := &restore{p: p, pin: pin, target: target, opts: o, runs: make(chan run, 4*p.r.workers), pieces: make(chan struct{}, maxAssembled), links: map[string]string{}}
	r.window = newWindow()
	stop := report(ctx, p.r.clock, o.Progress, r.progress)
	err = r.run(ctx)
	stop()
	if err == nil {
		err = r.refusals(target.Finish(ctx))
	}
	r.report.Entries, r.report.Bytes = r.entries.Load(), r.bytes.Load()
	if err == nil && o.Progress != nil {
		o.Progress(r.progress())
	}
	return r.report, err
}

func (r *restore) progress() Progress {
	p := Progress{Entries: r.entries.Load(), Bytes: r.bytes.Load(), Read: r.read.Load()}
	if len(r.opts.Include) == 0 {
		p.Total = r.p.rec.stats.LogicalBytes
	}
	if s := r.path.Load(); s != nil {
		p.Path = *s
	}
	return p
}

func (r *restore) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range r.p.r.workers + 1 {
		g.Go(func() error {
			w := newRunReader(r.p.r)
			defer w.close()
			for x := range r.runs {
				if err := w.do(ctx, x, r.deliver, r.elsewhere); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(r.runs)
		if err := r.plan(ctx); err != nil {
			return err
		}
		return r.flush(ctx)
	})
	return g.Wait()
}

// plan walks what is to be restored.
func (r *restore) plan(ctx context.Context) error {
	c := r.p.cursor(r.pin)
	c.Tolerate(r.gap)
	include := slices.Clone(r.opts.Include)
	if len(include) == 0 {
		include = []string{""}
	}
	slices.SortFunc(include, tree.Compare)
	made := map[string]bool{}
	last := ""
	for i, prefix := range include {
		if i > 0 && manifest.Within(prefix, last) {
			continue
		}
		last = prefix
		for end := range len(prefix) {
			if dir := prefix[:end]; (end == 0 || prefix[end] == '/') && !made[dir] {
				made[dir] = true
				if err := r.way(ctx, dir); err != nil {
					return err
				}
			}
		}
		if err := r.below(ctx, c, prefix); err != nil {
			return err
		}
	}
	if r.missing && len(r.open) == 0 {
		return r.standIn(ctx, "") // so that the result is a directory, if an empty one
	}
	return nil
}

// way restores a directory that leads to what was asked for.
func (r *restore) way(ctx context.Context, dir string) error {
	n, err := r.p.node(ctx, r.p.cursor(r.pin), dir)
	if err != nil && unreadable(err) {
		r.damaged(dir, 1, err)
		return r.standIn(ctx, dir)
	}
	if err != nil {
		return err
	}
	n.Problem = "" // not asked for itself
	return r.node(ctx, n)
}

// below restores the entry prefix and everything below it.
func (r *restore) below(ctx context.Context, c *manifest.Cursor, prefix string) error {
	before := r.gaps
	if err := c.Seek(ctx, prefix); err != nil {
		return err
	}
	for first := true; ; first = false {
		n, err := c.Next(ctx)
		if err != nil {
			return err
		}
		there := n != nil && manifest.Within(n.Path, prefix)
		if first && (!there || n.Path != prefix) && r.gaps == before {
			return noEntry(prefix)
		}
		if !there {
			return nil
		}
		if err := r.parents(ctx, n); err != nil {
			return err
		}
		ok, err := r.link(ctx, n)
		if err != nil {
			return err
		}
		if ok {
			if err := r.node(ctx, n); err != nil {
				return err
			}
		}
	}
}

// gap notes a part of the manifest that is lost.
func (r *restore) gap(l manifest.Lost) error {
	if !unreadable(l.Err) {
		return l.Err
	}
	n := int64(l.Entries)
	if n == 0 {
		n = max(1, r.p.rec.stats.Entries)
	}
	r.missing = true
	r.gaps++
	until := "the end"
	if l.Until != "" {
		until = fmt.Sprintf("%.300q", l.Until)
	}
	r.damaged(l.First, n, fmt.Errorf("%d entries from here up to %s are lost with a damaged page of the manifest: %w", n, until, l.Err))
	return nil
}

// damaged notes in the report what could not be restored because of damage.
func (r *restore) damaged(path string, entries int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.DamagedCount += entries
	r.report.IncompleteCount += entries
	if len(r.report.Incomplete) < MaxProblems {
		r.report.Incomplete = append(r.report.Incomplete, Problem{Path: path, Reason: err.Error()})
	}
}

// parents keeps r.open up to date, and makes the directories above an entry whose own entries are lost.
func (r *restore) parents(ctx context.Context, n *manifest.Node) error {
	for len(r.open) > 0 && !strictlyWithin(n.Path, r.open[len(r.open)-1]) {
		r.open = r.open[:len(r.open)-1]
	}
	if !r.missing || n.Path == "" {
		return nil
	}
	for end := range len(n.Path) {
		if end > 0 && n.Path[end] != '/' {
			continue
		}
		if dir := n.Path[:end]; !slices.Contains(r.open, dir) {
			if err := r.standIn(ctx, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func strictlyWithin(path, dir string) bool { return path != dir && manifest.Within(path, dir) }

// standIn makes a directory whose entry is lost.
func (r *restore) standIn(ctx context.Context, dir string) error {
	return r.node(ctx, &manifest.Node{Entry: tree.Entry{Path: dir, Type: tree.Dir, Mode: 0o700, Nlink: 1}})
}

// link gives the content of a hard link's first link to the first one that is restored, if that is another. It reports whether
// there is anything to restore.
func (r *restore) link(ctx context.Context, n *manifest.Node) (bool, error) {
	if n.Hardlink == "" || len(r.opts.Include) == 0 || slices.ContainsFunc(r.opts.Include, func(p string) bool { return manifest.Within(n.Hardlink, p) }) {
		return true, nil
	}
	if stand, ok := r.links[n.Hardlink]; ok {
		n.Hardlink = stand
		return true, nil
	}
	first, err := r.p.node(ctx, r.p.cursor(r.pin), n.Hardlink)
	if err != nil {
		if unreadable(err) {
			r.damaged(n.Path, 1, err)
			return false, nil
		}
		return false, err
	}
	r.links[n.Hardlink] = n.Path
	path := n.Path
	*n = *first
	n.Path = path
	return true, nil
}

// node restores one entry or plans its content.
func (r *restore) node(ctx context.Context, n *manifest.Node) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	e := &n.Entry
	r.path.Store(&e.Path)
	content := e.Type == tree.File && e.Hardlink == ""
	if e.Type == tree.Dir {
		r.open = append(r.open, e.Path)
	}
	if e.Problem != "" {
		r.mu.Lock()
		r.report.IncompleteCount++
		if len(r.report.Incomplete) < MaxProblems {
			r.report.Incomplete = append(r.report.Incomplete, Problem{Path: e.Path, Reason: e.Problem})
		}
		r.mu.Unlock()
		if content && n.Content.Kind == manifest.None && manifest.DataLen(e) != 0 {
			return nil // an empty file in its place would look like a copy
		}
	}
	r.entries.Add(1)
	f := &outFile{r: r, entry: e}
	if !content || n.Content.Kind == manifest.None || n.Content.Kind == manifest.Inline {
		f.open(ctx)
		if f.err == nil && f.w != nil && n.Content.Kind == manifest.Inline {
			f.err = f.place(n.Content.Data, 0)
		}
		return f.close()
	}
	f.pending.Store(1)
	pos := position{extents: e.Extents}
	fetch := r.p.r.fetch(r.pin)
	err := manifest.EachChunk(ctx, fetch, &n.Content, func(ref manifest.Ref) error {
		slot, frame, err := r.window.locate(ctx, r.p.r, r.pin, ref.Hash)
		if err != nil {
			return err
		}
		from := n.Content.Off
		for left := int64(ref.Size); left > 0; {
			off, k := pos.take(left)
			if k == 0 {
				return corrupt(pointName(r.p.rec.id), "the entry has more content than its size says")
			}
			f.pending.Add(1)
			r.window.add(slot, frame, use{file: f, off: off, from: from, to: from + uint32(k), hash: ref.Hash})
			from += uint32(k)
			left -= k
		}
		if r.window.full() {
			return r.flush(ctx)
		}
		return nil
	}, nil)
	if err != nil {
		if !unreadable(err) {
			return err
		}
		f.lose(err) // what is planned of it already comes to its end by itself
	}
	return f.done()
}

// position maps the content of a file to offsets.
type position struct {
	extents []tree.Extent // nil: dense
	i       int
	off     int64 // in the extent, or in the dense file
}

// take returns where the next bytes go, at most n of them; 0 when there is no more room.
func (p *position) take(n int64) (off, k int64) {
	if p.extents == nil {
		off = p.off
		p.off += n
		return off, n
	}
	for p.i < len(p.extents) && p.off == p.extents[p.i].Len {
		p.i, p.off = p.i+1, 0
	}
	if p.i == len(p.extents) {
		return 0, 0
	}
	x := p.extents[p.i]
	k = min(n, x.Len-p.off)
	off = x.Off + p.off
	p.off += k
	return off, k
}

// flush hands the window to the workers.
func (r *restore) flush(ctx context.Context) error {
	for _, x := range r.window.take(r.p.r) {
		if err := send(ctx, r.runs, x); err != nil {
			return err
		}
	}
	return nil
}

// deliver writes a chunk to where it is used.
func (r *restore) deliver(ctx context.Context, f pack.Frame, plain []byte, uses []use) error {
	r.read.Add(int64(f.Len))
	var misled []use
	for _, u := range uses {
		if f.Hash != u.hash { // the index is authentic, but made without the root key
			misled = append(misled, u)
			continue
		}
		if err := r.put(ctx, plain, u); err != nil {
			return err
		}
	}
	if len(misled) == 0 {
		return nil
	}
	w := newRunReader(r.p.r)
	defer w.close()
	return r.elsewhere(ctx, w, misled, corrupt(pointName(r.p.rec.id), "the index names another chunk than the one that is needed"))
}

// put writes one use of a chunk.
func (r *restore) put(ctx context.Context, plain []byte, u use) error {
	if int(u.to) > len(plain) {
		u.file.lose(corrupt(pointName(r.p.rec.id), "the entry refers to more than its chunk holds"))
		return u.file.done()
	}
	u.file.once.Do(func() { u.file.open(ctx) })
	if u.file.err == nil && u.file.w != nil && u.file.lost.Load() == nil {
		if err := u.file.place(plain[u.from:u.to], u.off); err != nil {
			return err
		}
	}
	return u.file.done()
}

// elsewhere is deliver for a chunk that could not be read where it was looked for first: it is read by itself from wherever it
// is intact. The files that need one that is nowhere intact are lost.
func (r *restore) elsewhere(ctx context.Context, w *runReader, uses []use, cause error) error {
	if !unreadable(cause) {
		return cause
	}
	for len(uses) > 0 {
		h := uses[0].hash
		f, plain, err := r.p.r.chunk(ctx, r.pin, pack.Data, h, &w.s, w.codec)
		if err != nil && !unreadable(err) {
			return err
		}
		r.read.Add(int64(f.Len))
		var others []use
		for _, u := range uses {
			switch {
			case u.hash != h:
				others = append(others, u)
				continue
			case err != nil:
				u.file.lose(err)
				err := u.file.done()
				if err != nil {
					return err
				}
			default:
				if err := r.put(ctx, plain, u); err != nil {
					return err
				}
			}
		}
		uses = others
	}
	return nil
}

// open creates the object in the target.
func (f *outFile) open(ctx context.Context) {
	w, err := f.r.target.Create(ctx, f.entry)
	f.err = f.r.refusals(err)
	f.w = w
	if w != nil && f.entry.Extents == nil && f.entry.Size >= assembleFrom {
		f.parts = &assembler{file: f, open: map[int64]*assembled{}}
	}
}

// place writes content that is already in memory.
func (f *outFile) place(p []byte, off int64) error {
	if f.entry.Extents != nil {
		return f.placeSparse(p, off)
	}
	f.r.bytes.Add(int64(len(p)))
	if f.parts != nil {
		return f.parts.write(p, off)
	}
	_, err := f.w.WriteAt(p, off)
	return err
}

// placeSparse writes content to an offset that lies in an extent; inline content may span several.
func (f *outFile) placeSparse(p []byte, off int64) error {
	pos := position{extents: f.entry.Extents}
	for pos.i < len(pos.extents) && off >= pos.extents[pos.i].Off+pos.extents[pos.i].Len {
		pos.i++
	}
	if pos.i < len(pos.extents) && off > pos.extents[pos.i].Off {
		pos.off = off - pos.extents[pos.i].Off
	}
	for len(p) > 0 {
		at, k := pos.take(int64(len(p)))
		if k == 0 {
			return fault.New(fault.Corrupt, "%.300q has more content than its extents hold", f.entry.Path)
		}
		if _, err := f.w.WriteAt(p[:k], at); err != nil {
			return err
		}
		f.r.bytes.Add(k)
		p = p[k:]
	}
	return nil
}

// done counts one use as written and closes the file after the last.
func (f *outFile) done() error {
	if f.pending.Add(-1) > 0 {
		return nil
	}
	return f.close()
}

func (f *outFile) close() error {
	lost := f.lost.Load()
	if lost != nil && f.err == nil {
		f.r.entries.Add(-1)
		f.r.damaged(f.entry.Path, 1, fmt.Errorf("left out, as a part of its content is lost: %w", *lost))
	}
	if f.err != nil || f.w == nil {
		return f.err
	}
	if f.parts != nil {
		if err := f.parts.flush(); err != nil {
			return err
		}
	}
	if lost != nil {
		return f.r.refusals(f.w.Discard())
	}
	return f.r.refusals(f.w.Close())
}

// refusals notes what the target refused and returns the error that remains.
func (r *restore) refusals(err error) error {
	if err == nil {
		return nil
	}
	refused, rest := tree.Refusals(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range refused {
		r.report.RefusedCount++
		if len(r.report.Refused) < MaxProblems {
			r.report.Refused = append(r.report.Refused, *x)
		}
	}
	return rest
}
