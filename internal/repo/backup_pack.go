package repo

import (
	"context"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/manifest"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
	"strongroom/internal/tree"
)

// packer turns pieces into sealed chunks. It is for one goroutine.
type packer struct {
	b     *backup
	codec *chunk.Codec
	out   []byte
	back  []byte
}

// do stores one piece, if it is new.
func (p *packer) do(ctx context.Context, x *piece) error {
	x.hash = chunk.Sum(x.data)
	err := p.b.s.storeNew(ctx, pack.Data, x.hash, x.data, p.codec, &p.out, &p.back)
	x.block.drop()
	x.data, x.block = nil, nil
	if err == nil {
		close(x.done)
	}
	return err
}

// storeNew compresses and stores a chunk that the repository does not have. out and back are memory to reuse.
func (s *session) storeNew(ctx context.Context, kind byte, h seal.Hash, plain []byte, codec *chunk.Codec, out, back *[]byte) error {
	cid := s.r.root.CID(kind, h)
	fresh, err := s.sink.claim(ctx, cid.Short(), len(plain))
	if err != nil || !fresh {
		return err
	}
	stored, alg := codec.Compress((*out)[:0], plain)
	if alg != chunk.Raw {
		*out = stored
	}
	if !s.r.trust {
		// The last moment at which a wrong compressor or a flipped bit is noticed while the source is there. The hash is compared,
		// not the bytes: they may have changed since they were hashed.
		got, ok := stored, true
		if alg != chunk.Raw {
			*back = grow(*back, len(plain))
			got, ok = codec.Decompress(*back, stored, alg, len(plain))
		}
		if !ok || chunk.Sum(got) != h {
			return fault.New(fault.Internal, "a chunk is not what it was when it was hashed: the memory or the processor of this machine is faulty")
		}
	}
	return s.sink.store(ctx, h, cid, kind, alg, len(plain), stored)
}

// putPage returns how pages and lists of the new manifest are stored. The result is for one goroutine.
func (b *backup) putPage(ctx context.Context) manifest.Put {
	var out, back []byte
	return func(plain []byte, list bool) (seal.Hash, error) {
		kind := metaKind(list)
		codec := b.r.codecs.Get().(*chunk.Codec)
		defer b.r.codecs.Put(codec)
		h := chunk.Sum(plain)
		return h, b.s.storeNew(ctx, kind, h, plain, codec, &out, &back)
	}
}

// manifest builds the manifest from the entries in order.
func (b *backup) manifest(ctx context.Context) (seal.Hash, error) {
	build := manifest.NewBuilder(b.putPage(ctx))
	for batch := range b.nodes {
		for _, e := range batch {
			if err := b.add(ctx, build, e); err != nil {
				return seal.Hash{}, err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return seal.Hash{}, context.Cause(ctx)
	}
	b.stats.ReadBytes, b.stats.NewBytes = b.read.Load(), b.s.sink.newBytes.Load()
	return build.Finish()
}

// add waits for an entry's content and adds it to the manifest.
func (b *backup) add(ctx context.Context, build *manifest.Builder, e *entry) error {
	if e.file != nil {
		if err := wait(ctx, e.file.done); err != nil {
			return err
		}
		if err := e.file.finish(ctx); err != nil {
			return err
		}
	}
	if e.ready != nil {
		if err := wait(ctx, e.ready); err != nil {
			return err
		}
		if e.Content.Kind == manifest.Slice {
			e.Content.Refs[0].Hash = e.piece.hash
		}
	}
	if err := build.Add(&e.Node); err != nil {
		return err
	}
	b.count1(e)
	return nil
}

// count1 counts a finished entry.
func (b *backup) count1(e *entry) {
	b.stats.Entries++
	n := e.Content.Len()
	if e.Type == tree.File && e.Hardlink == "" {
		b.stats.Files++
		b.stats.LogicalBytes += n
		if e.unchanged {
			b.stats.UnchangedFiles++
		}
	}
	if e.Problem != "" {
		b.problem(e.Path, e.Problem)
	}
	b.entries.Add(1)
	b.bytes.Add(n)
	b.path.Store(&e.Path)
}
