package repo

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/tree"
)

// The shape of a backup's pipeline. Every queue is bounded, so memory is too, whatever the tree looks like:
//
//	walk ──tasks──▶ readers ──pieces──▶ packers ──▶ packs
//	  └────────────────nodes, in tree order──────▶ manifest
//
// The walk compares each file with the base and groups small ones; readers open, read and cut; packers hash, look up,
// compress and seal; the manifest waits for each entry's content in turn. A node is queued only after the task that fills
// it, so what the manifest waits for is always under way.
const (
	nodeBatch  = 128     // entries that the walk hands to the manifest at once
	nodeQueue  = 32      // such batches between them
	blockSize  = 4 << 20 // of the buffers that files are read into; at least twice the largest chunk
	smallFile  = 256 << 10
	bundleMin  = 256 << 10
	bundleAvg  = 1 << 20
	bundleMax  = 2 << 20
	bundleSpan = 2048 // entries that a bundle may span
)

// backup is one running Backup.
type backup struct {
	r    *Repository
	s    *session
	opts BackupOptions
	base *base

	tasks  chan task
	pieces chan *piece
	nodes  chan []*entry
	blocks *blockPool

	// what the walk and the manifest have done; read by the progress reporter
	entries, bytes, read atomic.Int64
	path                 atomic.Pointer[string]

	stats    Stats // the manifest's
	problems []Problem
	count    int64
}

// task is work for a reader.
type task interface {
	run(ctx context.Context, b *backup) error
}

// Backup stores a tree as a new recovery point. The receipt is returned after everything it speaks of is durable. Doing it
// again with the id of a recovery point that exists returns that one's receipt and reads nothing. Objects that cannot be
// read faithfully do not fail the backup: they are in Receipt.Problems, and the manifest marks them.
//
// fault.Invalid: the id or the source's order or paths. fault.Conflict: the id is being written or was forgotten.
// fault.State: no root key. Other errors are the store's, the source's or the context's; then nothing was committed, unless
// the very last write failed without an answer, which the next attempt finds out.
func (r *Repository) Backup(ctx context.Context, src tree.Source, o BackupOptions) (Receipt, error) {
	s, done, err := r.open(ctx, o.ID)
	if err != nil {
		return Receipt{}, err
	}
	if done != nil {
		return done.receipt(), nil
	}
	committed := false
	defer func() {
		if committed {
			s.end()
		} else {
			s.suspend(ctx)
		}
	}()
	s.sink.keep = s.newKeeper(o.Meta, false)
	b := &backup{
		r: r, s: s, opts: o,
		tasks: make(chan task, 2*r.workers), pieces: make(chan *piece, 2*r.workers), nodes: make(chan []*entry, nodeQueue),
		blocks: newBlockPool(&r.registry.blocks, 3*r.workers+2),
	}
	defer b.blocks.close()
	if b.base, err = r.openBase(ctx, s, o.Base); err != nil {
		return Receipt{}, err
	}
	stop := report(ctx, r.clock, o.Progress, b.progress)
	root, err := b.run(ctx, src)
	stop()
	if err != nil {
		return Receipt{}, err
	}
	rec, err := s.commit(ctx, o.Meta, root, b.stats, b.problems, b.count)
	if err != nil {
		return Receipt{}, err
	}
	committed = true
	s.sink.keep.drop(context.WithoutCancel(ctx))
	if o.Progress != nil {
		o.Progress(b.progress())
	}
	return rec.receipt(), nil
}

// run drives the pipeline and returns the hash of the manifest.
func (b *backup) run(ctx context.Context, src tree.Source) (root [32]byte, err error) {
	g, ctx := errgroup.WithContext(ctx)
	var readers sync.WaitGroup
	readers.Add(b.r.workers + 1)
	for range b.r.workers + 1 {
		g.Go(func() error {
			defer readers.Done()
			for t := range b.tasks {
				if err := t.run(ctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range b.r.workers {
		g.Go(func() error {
			p := &packer{b: b, codec: b.r.codecs.Get().(*chunk.Codec)}
			defer b.r.codecs.Put(p.codec)
			for x := range b.pieces {
				if err := p.do(ctx, x); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(b.nodes)
		defer close(b.tasks)
		w := &walker{b: b}
		if err := src.Walk(ctx, func(it tree.Item) error { return w.emit(ctx, it) }); err != nil {
			return err
		}
		return w.flush(ctx)
	})
	g.Go(func() error {
		readers.Wait()
		close(b.pieces)
		return nil
	})
	g.Go(func() error {
		var err error
		root, err = b.manifest(ctx)
		return err
	})
	return root, g.Wait()
}

func (b *backup) progress() Progress {
	p := Progress{Entries: b.entries.Load(), Bytes: b.bytes.Load(), Read: b.read.Load(), Stored: b.s.sink.storedBytes.Load()}
	if s := b.path.Load(); s != nil {
		p.Path = *s
	}
	return p
}

// report calls fn a few times a second until stop is called.
func report(ctx context.Context, c interface {
	After(time.Duration) <-chan time.Time
}, fn func(Progress), now func() Progress) (stop func()) {
	if fn == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-c.After(250 * time.Millisecond):
				fn(now())
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// send puts a value into a queue unless the work has ended.
func send[T any](ctx context.Context, ch chan<- T, v T) error {
	select {
	case ch <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait returns when ch is closed.
func wait(ctx context.Context, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// problem notes an entry that is not a faithful copy.
func (b *backup) problem(path, reason string) {
	b.count++
	if len(b.problems) < MaxProblems {
		b.problems = append(b.problems, Problem{Path: path, Reason: reason})
	}
}

func badSource(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
