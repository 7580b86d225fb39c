package repo

import (
	"context"
	"sync"
	"sync/atomic"

	"strongroom/internal/durable"
)

// block is a buffer that files are read into; several chunks of it may be under way at once.
type block struct {
	pool *blockPool
	buf  *[]byte
	refs atomic.Int32
}

func (b *block) data() []byte { return *b.buf }

// keep and drop count the users of a block.
func (b *block) keep() { b.refs.Add(1) }

func (b *block) drop() {
	if b.refs.Add(-1) == 0 {
		b.pool.free <- b
	}
}

// blockPool lends a fixed number of blocks. Their memory comes from a pool of the process, because touching memory for the
// first time is expensive on virtual machines.
type blockPool struct {
	memory *sync.Pool
	free   chan *block // as many as there are; those without memory yet have buf nil
	all    []*block
}

func newBlockPool(memory *sync.Pool, n int) *blockPool {
	p := &blockPool{memory: memory, free: make(chan *block, n)}
	for range n {
		b := &block{pool: p}
		p.all = append(p.all, b)
		p.free <- b
	}
	return p
}

// get lends a block with one user.
func (p *blockPool) get(ctx context.Context) (*block, error) {
	select {
	case b := <-p.free:
		if b.buf == nil {
			if b.buf, _ = p.memory.Get().(*[]byte); b.buf == nil {
				m := durable.AlignedBuffer(blockSize)
				b.buf = &m
			}
		}
		b.refs.Store(1)
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// close gives the memory of idle blocks back. A block that a failed operation left in use is left to the collector.
func (p *blockPool) close() {
	for {
		select {
		case b := <-p.free:
			if b.buf != nil {
				p.memory.Put(b.buf)
			}
		default:
			return
		}
	}
}
