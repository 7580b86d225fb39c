package repo

import (
	"context"
	"strings"

	"strongroom/internal/repo/manifest"
	"strongroom/internal/tree"
)

// entry is a node on its way from the walk to the manifest.
type entry struct {
	manifest.Node
	piece     *piece    // the bundle that holds the content, or nil
	file      *fileRead // the reading of a large file, or nil
	ready     <-chan struct{}
	unchanged bool // taken over from the base
	// late completes the entry, unless it is nil or the reading does so.
	late func(*tree.Entry)
}

// complete completes the entry where nothing else will.
func (e *entry) complete() {
	if e.late != nil {
		e.late(&e.Entry)
		e.late = nil
		normalise(&e.Entry)
	}
}

// walker receives the source's items.
type walker struct {
	b      *backup
	dirs   []string // the open directories
	held   []*entry // not queued yet: entries of the open bundle and those after them
	bundle *bundle
	batch  []*entry // to be queued: one by one costs more than most entries do
	began  bool
}

// emit takes one item.
func (w *walker) emit(ctx context.Context, it tree.Item) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	e := &entry{Node: manifest.Node{Entry: it.Entry}, late: it.Late}
	normalise(&e.Entry)
	if err := w.place(&e.Entry); err != nil {
		return err
	}
	if e.Type != tree.File || e.Hardlink != "" {
		e.complete()
		return w.queue(ctx, e)
	}
	if same, err := w.b.base.reuse(ctx, e); err != nil {
		return err
	} else if same {
		return w.queue(ctx, e)
	}
	if it.Open == nil {
		e.complete()
		if e.Problem == "" && e.Size > 0 {
			return badSource("the source gives no content for the file %.200q", e.Path)
		}
		return w.queue(ctx, e)
	}
	if e.Size > smallFile || e.Size < 0 {
		f := &fileRead{e: e, open: it.Open, blocks: it.Blocks, done: make(chan struct{})}
		e.file = f
		if err := send[task](ctx, w.b.tasks, f); err != nil {
			return err
		}
		return w.queue(ctx, e)
	}
	return w.small(ctx, e, it)
}

// normalise drops what an entry of its type does not have, which sources that copy a stat result may fill in.
func normalise(e *tree.Entry) {
	e.Mode &= 0o7777
	if e.Type == 0 && e.Problem != "" {
		e.Type = tree.File // something that could not even be looked at
	}
	if e.Type != tree.File {
		e.Size, e.Extents = 0, nil
	}
	if e.Type == tree.Dir {
		e.Hardlink = ""
	}
	if len(e.Xattrs) == 0 {
		e.Xattrs = nil
	}
}

// place checks that the entry's parent is a directory of this walk. The order is the manifest's to check.
func (w *walker) place(e *tree.Entry) error {
	if !w.began {
		if w.began = true; e.Path != "" {
			return badSource("a tree begins with its root, not with %.200q", e.Path)
		}
		if e.Type == tree.Dir {
			w.dirs = append(w.dirs, "")
		}
		return nil
	}
	if e.Path == "" || !tree.ValidPath(e.Path) {
		return badSource("the source names an invalid path: %.200q", e.Path)
	}
	parent := ""
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		parent = e.Path[:i]
	}
	for len(w.dirs) > 0 && w.dirs[len(w.dirs)-1] != parent {
		w.dirs = w.dirs[:len(w.dirs)-1]
	}
	if len(w.dirs) == 0 {
		return badSource("the source names %.200q outside a directory that it named before", e.Path)
	}
	if e.Type == tree.Dir {
		w.dirs = append(w.dirs, e.Path)
	}
	return nil
}

// small adds a file to the open bundle. Whether the bundle ends here depends on the file's path and size alone, so that a
// full backup of the same tree makes the same bundles.
func (w *walker) small(ctx context.Context, e *entry, it tree.Item) error {
	if w.bundle != nil && w.bundle.size+int(e.Size) > bundleMax {
		if err := w.closeBundle(ctx); err != nil {
			return err
		}
	}
	if w.bundle == nil {
		w.bundle = &bundle{piece: newPiece()}
	}
	e.piece = w.bundle.piece
	e.ready = w.bundle.piece.done
	w.bundle.add(e, it.Open)
	if err := w.queue(ctx, e); err != nil {
		return err
	}
	if w.bundle != nil && w.bundle.size >= bundleMin && int(hashString(e.Path)%(bundleAvg-bundleMin)) < int(e.Size) {
		return w.closeBundle(ctx)
	}
	return nil
}

// queue hands an entry to the manifest. While a bundle is open, its entries and all after them are held back: the manifest
// would wait for a bundle that nobody reads yet.
func (w *walker) queue(ctx context.Context, e *entry) error {
	if w.bundle == nil {
		return w.pass(ctx, e)
	}
	w.held = append(w.held, e)
	if len(w.held) >= bundleSpan {
		return w.closeBundle(ctx)
	}
	return nil
}

// closeBundle sends the open bundle off and releases what was held back.
func (w *walker) closeBundle(ctx context.Context) error {
	if w.bundle == nil {
		return nil
	}
	b := w.bundle
	w.bundle = nil
	if err := send[task](ctx, w.b.tasks, b); err != nil {
		return err
	}
	for i, e := range w.held {
		if err := w.pass(ctx, e); err != nil {
			return err
		}
		w.held[i] = nil
	}
	w.held = w.held[:0]
	return nil
}

// pass gathers entries for the manifest. None of them waits for a task that is not under way.
func (w *walker) pass(ctx context.Context, e *entry) error {
	if w.batch = append(w.batch, e); len(w.batch) < nodeBatch {
		return nil
	}
	full := w.batch
	w.batch = make([]*entry, 0, nodeBatch)
	return send(ctx, w.b.nodes, full)
}

// flush ends the walk.
func (w *walker) flush(ctx context.Context) error {
	if err := w.closeBundle(ctx); err != nil {
		return err
	}
	return send(ctx, w.b.nodes, w.batch)
}

// hashString is FNV-1a with a final mix.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}
