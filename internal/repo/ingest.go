package repo

import (
	"context"
	"slices"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// The messages of the ingest conversation, in the order in which a source sends them. Between processes they travel over
// mutually authenticated TLS, because they carry content hashes.

// MaxOffer is how many chunks one Offer may name, MaxFrames how many frames one Data or Pages may carry.
const (
	MaxOffer  = 4096
	MaxFrames = 256
)

// OfferedChunk names a chunk of file content that the source could send.
type OfferedChunk struct {
	Hash [32]byte
	Size uint32
}

// Offer asks which chunks are needed.
type Offer struct{ Chunks []OfferedChunk }

// Need answers an Offer: Send[i] says whether chunk i must be sent.
type Need struct{ Send []bool }

// Frame is one chunk as the source has it: compressed by Alg (0 not at all, 1 Zstandard). It is stored as it comes.
type Frame struct {
	Hash   [32]byte
	Alg    byte
	Size   uint32 // of the plaintext
	List   bool   // in Pages: a list of chunks instead of a page
	Stored []byte
}

// Data carries file content.
type Data struct{ Frames []Frame }

// Pages carries the manifest: the lists of a leaf before the leaf, every page before the one above it, in tree order.
type Pages struct{ Frames []Frame }

// Seal ends the conversation: the recovery point is what Root stands for.
type Seal struct{ Root [32]byte }

// Session is the destination's side of the conversation that writes one recovery point. The source is not trusted: every
// hash is computed again, a reference counts only if the session brought the bytes or the previous recovery point of the
// same resource has them, and nothing the source says enters the commit record but the content. Offer and Data may be
// called concurrently; Pages, Seal and Abort not. After an error the session is dead.
type Session struct {
	r     *Repository
	s     *session
	meta  Meta
	scope *refSet

	mu   sync.Mutex
	dead error

	// the manifest so far
	levels   [][]manifest.Child // pages without a parent yet
	last     string             // path
	begun    bool
	stats    Stats
	problems []Problem
	count    int64
}

// Ingest begins to write a recovery point from a source's messages. When it exists already, its receipt is returned and no
// session. Meta is the destination's word, not the source's.
func (r *Repository) Ingest(ctx context.Context, id string, meta Meta) (*Session, *Receipt, error) {
	s, done, err := r.open(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if done != nil {
		receipt := done.receipt()
		return nil, &receipt, nil
	}
	x := &Session{r: r, s: s, meta: meta}
	if x.scope, err = r.scope(ctx, meta); err != nil {
		s.end()
		return nil, nil, err
	}
	return x, nil, nil
}

// scope returns what the newest recovery point of the same owner and resource refers to.
func (r *Repository) scope(ctx context.Context, meta Meta) (*refSet, error) {
	if meta.ResourceARN == "" {
		return newRefSet(), nil
	}
	recs, _, err := r.all(ctx)
	if err != nil {
		return nil, err
	}
	var newest *record
	for _, rec := range recs {
		if rec.meta.Owner == meta.Owner && rec.meta.ResourceARN == meta.ResourceARN && (newest == nil || rec.committed.After(newest.committed)) {
			newest = rec
		}
	}
	if newest == nil {
		return newRefSet(), nil
	}
	refs, _, err := r.v.loadRefs(ctx, newest)
	if err != nil {
		if _, _, _, gone := r.live(ctx, newest.id); fault.Is(gone, fault.NotFound) {
			return newRefSet(), nil // forgotten and pruned meanwhile: everything is asked for, nothing is lost
		}
	}
	return refs, err
}

// fail makes the session unusable.
func (x *Session) fail(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dead == nil {
		x.dead = err
	}
	return err
}

func (x *Session) check() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dead
}

// Offer says which chunks are needed. One that the repository has from somebody else is asked for like an unknown one, so
// that the answer tells nothing about other people's data.
func (x *Session) Offer(ctx context.Context, m Offer) (Need, error) {
	if err := x.check(); err != nil {
		return Need{}, err
	}
	if len(m.Chunks) > MaxOffer {
		return Need{}, x.fail(fault.New(fault.Limit, "an offer of %d chunks", len(m.Chunks)))
	}
	n := Need{Send: make([]bool, len(m.Chunks))}
	for i, c := range m.Chunks {
		have, err := x.s.sink.accepted(ctx, x.r.root.CID(pack.Data, c.Hash).Short(), x.scope)
		if err != nil {
			return Need{}, x.fail(err)
		}
		n.Send[i] = !have
	}
	return n, nil
}

// ingestMemory is what one caller of Data or Pages needs.
type ingestMemory struct {
	codec *chunk.Codec
	plain []byte
}

// accept verifies one frame and stores it if it is new. The plaintext is returned; it lives in the memory given.
func (x *Session) accept(ctx context.Context, kind byte, f *Frame, m *ingestMemory) ([]byte, error) {
	if f.Size == 0 || f.Size > chunk.MaxSize || len(f.Stored) > int(f.Size) || f.Alg > chunk.Zstd {
		return nil, fault.New(fault.Invalid, "a frame of impossible size or algorithm")
	}
	plain := f.Stored
	if f.Alg != chunk.Raw || len(f.Stored) != int(f.Size) {
		m.plain = grow(m.plain, int(f.Size))
		var ok bool
		if plain, ok = m.codec.Decompress(m.plain, f.Stored, f.Alg, int(f.Size)); !ok {
			return nil, fault.New(fault.Invalid, "a frame does not decompress to what it announces")
		}
	}
	if chunk.Sum(plain) != f.Hash {
		return nil, fault.New(fault.Invalid, "a frame does not have the hash that it announces")
	}
	cid := x.r.root.CID(kind, f.Hash)
	fresh, err := x.s.sink.claim(ctx, cid.Short())
	if err != nil || !fresh {
		return plain, err
	}
	return plain, x.s.sink.store(ctx, f.Hash, cid, kind, f.Alg, int(f.Size), f.Stored)
}

func (x *Session) frames(ctx context.Context, frames []Frame, each func(f *Frame, m *ingestMemory) error) error {
	if err := x.check(); err != nil {
		return err
	}
	if len(frames) > MaxFrames {
		return x.fail(fault.New(fault.Limit, "a message of %d frames", len(frames)))
	}
	m := x.r.ingest.Get().(*ingestMemory)
	defer x.r.ingest.Put(m)
	for i := range frames {
		if err := each(&frames[i], m); err != nil {
			return x.fail(err)
		}
	}
	return nil
}

// Data takes file content.
func (x *Session) Data(ctx context.Context, d Data) error {
	return x.frames(ctx, d.Frames, func(f *Frame, m *ingestMemory) error {
		_, err := x.accept(ctx, pack.Data, f, m)
		return err
	})
}

// Pages takes the next part of the manifest and checks that it continues what came before and refers to nothing that the
// source has not shown.
func (x *Session) Pages(ctx context.Context, p Pages) error {
	return x.frames(ctx, p.Frames, func(f *Frame, m *ingestMemory) error {
		plain, err := x.accept(ctx, metaKind(f.List), f, m)
		if err != nil {
			return err
		}
		if f.List {
			return x.list(ctx, plain)
		}
		return x.page(ctx, f.Hash, plain)
	})
}

func unproven() error {
	return fault.New(fault.Denied, "the manifest refers to data that this session has not shown")
}

// refs checks references to chunks, or to lists when depth is not 0.
func (x *Session) refs(ctx context.Context, refs []manifest.Ref, depth byte) error {
	kind, scope := pack.Data, x.scope
	if depth > 0 {
		kind, scope = pack.List, nil // lists are always sent
	}
	for _, r := range refs {
		ok, err := x.s.sink.accepted(ctx, x.r.root.CID(kind, r.Hash).Short(), scope)
		if err != nil {
			return err
		}
		if !ok {
			return unproven()
		}
	}
	return nil
}

func (x *Session) list(ctx context.Context, plain []byte) error {
	if len(plain) < 2 {
		return fault.New(fault.Invalid, "a malformed list")
	}
	refs, err := manifest.DecodeList(plain, plain[1])
	if err != nil {
		return err
	}
	return x.refs(ctx, refs, plain[1])
}

// page takes the next page: a leaf that continues the last one, or the page above all pages that wait for one.
func (x *Session) page(ctx context.Context, h seal.Hash, plain []byte) error {
	p, err := manifest.DecodePage(plain)
	if err != nil {
		return err
	}
	c := manifest.Child{Hash: h}
	if p.Level == 0 {
		c.First = p.Nodes[0].Path
		for i := range p.Nodes {
			if err := x.node(ctx, &p.Nodes[i]); err != nil {
				return err
			}
			c.Bytes += uint64(p.Nodes[i].Content.Len())
		}
		c.Entries = uint64(len(p.Nodes))
	} else {
		if p.Level > len(x.levels) || !slices.Equal(p.Children, x.levels[p.Level-1]) {
			return fault.New(fault.Invalid, "a manifest page that does not stand for the pages before it")
		}
		c.First = p.Children[0].First
		for _, b := range p.Children {
			c.Entries += b.Entries
			c.Bytes += b.Bytes
		}
		x.levels[p.Level-1] = nil
	}
	for len(x.levels) <= p.Level {
		x.levels = append(x.levels, nil)
	}
	x.levels[p.Level] = append(x.levels[p.Level], c)
	return nil
}

// node checks and counts one entry.
func (x *Session) node(ctx context.Context, n *manifest.Node) error {
	if !x.begun && n.Path != "" || x.begun && !tree.Less(x.last, n.Path) {
		return fault.New(fault.Invalid, "the manifest's entries are out of order at %.200q", n.Path)
	}
	x.begun, x.last = true, n.Path
	if err := x.refs(ctx, n.Content.Refs, n.Content.Depth); err != nil {
		return err
	}
	x.stats.Entries++
	if n.Type == tree.File && n.Hardlink == "" {
		x.stats.Files++
		x.stats.LogicalBytes += n.Content.Len()
	}
	if n.Problem != "" {
		x.count++
		if len(x.problems) < MaxProblems {
			x.problems = append(x.problems, Problem{Path: n.Path, Reason: n.Problem})
		}
	}
	return nil
}

// Seal commits the recovery point and ends the session. The receipt is the destination's own account of what it holds.
func (x *Session) Seal(ctx context.Context, m Seal) (Receipt, error) {
	defer x.s.end()
	if err := x.check(); err != nil {
		return Receipt{}, err
	}
	top := len(x.levels) - 1
	ok := top >= 0 && len(x.levels[top]) == 1 && x.levels[top][0].Hash == m.Root
	for i := range max(top, 0) {
		ok = ok && len(x.levels[i]) == 0
	}
	if !ok {
		return Receipt{}, x.fail(fault.New(fault.Invalid, "the root does not stand for the manifest that was sent"))
	}
	x.fail(fault.New(fault.State, "the session has ended"))
	x.stats.NewBytes = x.s.sink.newBytes.Load()
	rec, err := x.s.commit(ctx, x.meta, m.Root, x.stats, x.problems, x.count)
	if err != nil {
		return Receipt{}, err
	}
	return rec.receipt(), nil
}

// Abort ends the session without a recovery point. It may be called after Seal, where it does nothing.
func (x *Session) Abort() {
	x.fail(fault.New(fault.State, "the session was aborted"))
	x.s.end()
}
