package repo

import (
	"context"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/pack"
)

// The messages of the ingest conversation, in the order in which a source sends them. Between processes they travel over
// mutually authenticated TLS, because they carry content hashes. docs/FORMAT.md, "Ingest", has the rules and the limits.

// What one message may carry. More is refused before anything is allocated for it.
const (
	MaxOffer   = 4096     // chunks of an Offer
	MaxCompare = 1024     // pages of a Compare
	MaxFrames  = 256      // frames of a Data or Pages
	MaxMessage = 16 << 20 // bytes of their frames
	MaxStreams = 64       // streams of one session
)

// Batch names a message. A source numbers the messages of each stream from 0 and sends the next one when the last is
// answered; several streams go on at once. A message that is not answered is sent again as it is: if it had arrived, it gets
// the same answer and nothing is stored twice.
type Batch struct {
	Stream uint8
	Number uint32
}

// OfferedPage names a page of the source's manifest and its place: its level and the path of its first entry.
type OfferedPage struct {
	Hash  [32]byte
	Level uint8
	First string
}

// Compare asks which pages the last recovery point of the same resource has at the same place. What stands below them, and
// they themselves, need not be sent.
type Compare struct {
	Batch Batch
	Pages []OfferedPage
}

// OfferedChunk names a chunk of file content that the source could send.
type OfferedChunk struct {
	Hash [32]byte
	Size uint32
}

// Offer asks which chunks are needed.
type Offer struct {
	Batch  Batch
	Chunks []OfferedChunk
}

// Need answers a Compare or an Offer: Send[i] says whether page or chunk i must be sent.
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
type Data struct {
	Batch  Batch
	Frames []Frame
}

// Pages carries the manifest: the lists of a leaf before the leaf, every page before the one above it, in tree order. Pages
// that a Compare found may be left out.
type Pages struct {
	Batch  Batch
	Frames []Frame
}

// Seal ends the conversation: the recovery point is what Root stands for. Chunks is how many chunks the source says that
// it refers to; 0: not known.
type Seal struct {
	Root   [32]byte
	Chunks int64
}

// Session is the destination's side of the conversation that writes one recovery point. The source is not trusted: every
// hash is computed again, a reference counts only if the session, or an earlier one of the same source that was cut off,
// brought the bytes, or the previous recovery point of the same resource has them, and nothing the source says enters the
// commit record but the content.
//
// All methods may be called concurrently, but a message whose stream waits for another number, and a Seal before everything
// is answered, is refused. An error that wraps ErrRepeat and a refused number leave the session as it was; after any other
// error it is dead, and Close keeps what it has for the next one. The caller ends every session with Close or Abort.
type Session struct {
	r     *Repository
	s     *session
	meta  Meta
	scope *refSet // of the base: what the session may refer to
	early *refSet // of sessions that were cut off, likewise
	share *share  // of the memory for messages

	// going is held for reading while a message is worked on, for writing to end the session or to begin a checkpoint.
	going   sync.RWMutex
	streams [MaxStreams]stream

	receipt *Receipt // after Seal; guarded by going, like ended
	ended   bool

	mu       sync.Mutex
	dead     error
	received int64 // bytes of Data and Pages since the last checkpoint
	all      int64 // in total

	order sync.Mutex // guards tree
	tree  manifestCheck
	base  *ingestBase
}

// Ingest begins to write a recovery point from a source's messages. When it exists already, its receipt is returned and no
// session. Meta is the destination's word, not the source's. fault.Conflict: another session writes it, or it was forgotten.
func (r *Repository) Ingest(ctx context.Context, id string, meta Meta) (*Session, *Receipt, error) {
	s, done, err := r.open(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if done != nil {
		receipt := done.receipt()
		return nil, &receipt, nil
	}
	x := &Session{r: r, s: s, meta: meta, share: r.registry.intake.share()}
	s.sink.keep = s.newKeeper(meta, true)
	if err = x.begin(ctx); err != nil {
		s.end()
		return nil, nil, err
	}
	return x, nil, nil
}

// begin finds out what the source may refer to without sending it.
func (x *Session) begin(ctx context.Context) (err error) {
	base, scope, err := x.r.scope(ctx, x.meta)
	if err != nil {
		return err
	}
	x.s.base, x.scope = base, scope
	x.base = x.openBase(ctx, base)
	x.early, err = x.r.earlier(ctx, tagOf(x.r.maint, x.meta))
	return err
}

// scope returns the newest recovery point of the same owner and resource (nil: none), and what it refers to.
func (r *Repository) scope(ctx context.Context, meta Meta) (*record, *refSet, error) {
	if meta.ResourceARN == "" {
		return nil, newRefSet(), nil
	}
	newest, err := r.newest(ctx, meta)
	if err != nil {
		return nil, nil, err
	}
	if newest == nil {
		return nil, newRefSet(), nil
	}
	refs, _, err := r.v.loadRefs(ctx, newest)
	if err != nil {
		if _, _, _, gone := r.live(ctx, newest.id); fault.Is(gone, fault.NotFound) {
			return nil, newRefSet(), nil // forgotten and pruned meanwhile: everything is asked for, nothing is lost
		}
	}
	return newest, refs, err
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

// Credit returns how many bytes of frames, compressed as they are sent, the source may have sent without an answer. It stays the
// same for the session's life.
func (x *Session) Credit() int64 { return x.share.credit }

// Compare says which pages must be sent.
func (x *Session) Compare(ctx context.Context, m Compare) (Need, error) {
	size := 0
	for _, p := range m.Pages {
		size += len(p.First)
	}
	if len(m.Pages) > MaxCompare || size > MaxMessage {
		return Need{}, x.fail(fault.New(fault.Limit, "a comparison of %d pages with %d bytes of paths", len(m.Pages), size))
	}
	return x.once(ctx, m.Batch, m.print, func(ctx context.Context) (Need, error) { return x.compare(ctx, m.Pages) })
}

// Offer says which chunks are needed. One that the repository has from somebody else is asked for like an unknown one, so
// that the answer tells nothing about other people's data.
func (x *Session) Offer(ctx context.Context, m Offer) (Need, error) {
	if len(m.Chunks) > MaxOffer {
		return Need{}, x.fail(fault.New(fault.Limit, "an offer of %d chunks", len(m.Chunks)))
	}
	return x.once(ctx, m.Batch, m.print, func(ctx context.Context) (Need, error) {
		n := Need{Send: make([]bool, len(m.Chunks))}
		for i, c := range m.Chunks {
			_, have, err := x.s.sink.accepted(ctx, x.r.root.CID(pack.Data, c.Hash).Short(), x.scope, x.early)
			if err != nil {
				return Need{}, err
			}
			n.Send[i] = !have
		}
		return n, nil
	})
}

// Data takes file content.
func (x *Session) Data(ctx context.Context, d Data) error {
	return x.frames(ctx, d.Batch, d.Frames, func(ctx context.Context, f *Frame, m *ingestMemory) error {
		_, err := x.accept(ctx, pack.Data, f, m)
		return err
	})
}

// Pages takes the next part of the manifest and checks that it continues what came before and refers to nothing that the
// source has not shown.
func (x *Session) Pages(ctx context.Context, p Pages) error {
	return x.frames(ctx, p.Batch, p.Frames, func(ctx context.Context, f *Frame, m *ingestMemory) error {
		x.order.Lock()
		defer x.order.Unlock()
		plain, err := x.accept(ctx, metaKind(f.List), f, m)
		if err != nil {
			return err
		}
		if f.List {
			return x.list(ctx, f.Hash, plain)
		}
		return x.page(ctx, f.Hash, plain)
	})
}

// ingestMemory is what one caller of Data or Pages needs.
type ingestMemory struct {
	codec *chunk.Codec
	plain []byte
}

// possible refuses frames that cannot be right, before anything is allocated for them. It returns how many bytes they have,
// and what the largest of them takes decompressed.
func possible(frames []Frame) (bytes, largest int64, err error) {
	if len(frames) > MaxFrames {
		return 0, 0, fault.New(fault.Limit, "a message of %d frames, more than %d", len(frames), MaxFrames)
	}
	for i := range frames {
		f := &frames[i]
		if f.Size == 0 || f.Size > chunk.MaxSize || len(f.Stored) > int(f.Size) || f.Alg > chunk.Zstd {
			return 0, 0, fault.New(fault.Invalid, "a frame of impossible size or algorithm")
		}
		bytes += int64(len(f.Stored))
		largest = max(largest, int64(f.Size))
	}
	if bytes > MaxMessage {
		return 0, 0, fault.New(fault.Limit, "a message of %d bytes, more than %d", bytes, MaxMessage)
	}
	return bytes, largest, nil
}

// accept verifies one frame and stores it if it is new. The plaintext is returned; it lives in the memory given.
func (x *Session) accept(ctx context.Context, kind byte, f *Frame, m *ingestMemory) ([]byte, error) {
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
	fresh, err := x.s.sink.claim(ctx, cid.Short(), int(f.Size))
	if err != nil || !fresh {
		return plain, err
	}
	return plain, x.s.sink.store(ctx, f.Hash, cid, kind, f.Alg, int(f.Size), f.Stored)
}

// frames works on one message with frames.
func (x *Session) frames(ctx context.Context, b Batch, frames []Frame, each func(context.Context, *Frame, *ingestMemory) error) error {
	bytes, largest, err := possible(frames)
	if err != nil {
		return x.fail(err)
	}
	free, err := x.share.admit(ctx, bytes, largest)
	if err != nil {
		return err
	}
	defer free()
	print := func() [32]byte { return printFrames(frames) }
	_, err = x.once(ctx, b, print, func(ctx context.Context) (Need, error) {
		m := x.r.ingest.Get().(*ingestMemory)
		defer x.r.ingest.Put(m)
		for i := range frames {
			if err := each(ctx, &frames[i], m); err != nil {
				return Need{}, err
			}
		}
		return Need{}, nil
	})
	if err != nil {
		return err
	}
	return x.count(ctx, bytes)
}

// count adds to what was received and begins a checkpoint when enough has come.
func (x *Session) count(ctx context.Context, bytes int64) error {
	if !x.checkpointDue(bytes) {
		return nil
	}
	x.going.Lock()
	defer x.going.Unlock()
	if !x.checkpointDue(0) || x.check() != nil {
		return nil // somebody else was faster
	}
	if err := x.checkpoint(ctx); err != nil {
		return x.fail(err)
	}
	return nil
}

// checkpointDue decides by what the source sent alone: see ingest_keeper.go.
func (x *Session) checkpointDue(bytes int64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.received += bytes
	x.all += bytes
	packs := int64(len(x.s.sink.shards[pack.ClassData]))
	return x.received >= max(packs*x.s.sink.unit, x.all/recordPart)
}

// checkpoint has everything recorded that the session has until now. The caller holds going.
func (x *Session) checkpoint(ctx context.Context) error {
	x.mu.Lock()
	x.received = 0
	x.mu.Unlock()
	return x.s.sink.checkpoint(ctx)
}

// Seal commits the recovery point and ends the session. The receipt is the destination's own account of what it holds; how
// much of it was new is not for the source to know. The same Seal again gets the same receipt.
func (x *Session) Seal(ctx context.Context, m Seal) (Receipt, error) {
	x.going.Lock()
	defer x.going.Unlock()
	if x.receipt != nil && x.receipt.Root == m.Root {
		return *x.receipt, nil
	}
	if err := x.check(); err != nil {
		return Receipt{}, err
	}
	defer x.end()
	stats, problems, count, err := x.total(ctx, m.Root)
	if err != nil {
		return Receipt{}, x.fail(err)
	}
	x.fail(fault.New(fault.State, "the session has ended"))
	if err := x.inherit(ctx, m); err != nil {
		return Receipt{}, err
	}
	stats.NewBytes = x.s.sink.newBytes.Load()
	rec, err := x.s.commit(ctx, x.meta, m.Root, stats, problems, count)
	if err != nil {
		return Receipt{}, err
	}
	x.s.sink.keep.drop(context.WithoutCancel(ctx))
	receipt := rec.receipt()
	x.receipt = &receipt
	return receipt, nil
}

// Close ends the session without a recovery point, if Seal has not made one, and keeps what came in for a day: a session of
// the same source goes on where this one was. It may be called more than once.
func (x *Session) Close() {
	x.going.Lock()
	defer x.going.Unlock()
	if !x.ended {
		x.mu.Lock()
		enough := x.received >= min(keepLeast, x.s.sink.unit)
		x.mu.Unlock()
		if enough {
			// What fails here costs a repetition only.
			_ = x.checkpoint(context.Background())
		}
	}
	x.fail(fault.New(fault.State, "the session was closed"))
	x.end()
}

// Abort ends the session and gives up what it brought, also earlier parts of it. After Seal it does nothing.
func (x *Session) Abort() {
	x.going.Lock()
	defer x.going.Unlock()
	x.fail(fault.New(fault.State, "the session was aborted"))
	if !x.ended {
		x.s.sink.abort() // waits for a checkpoint under way
		x.s.sink.keep.drop(context.Background())
	}
	x.end()
}

// end ends the session. The caller holds going.
func (x *Session) end() {
	x.ended = true
	x.s.end()
}
