package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
)

// ErrRepeat is wrapped by errors after which the source sends the same message again: the destination has no room for it
// now, or whatever carries the messages does not know whether it arrived.
var ErrRepeat = errors.New("send the message again")

// stream remembers the last message of a stream and its answer, for the source that did not hear it.
type stream struct {
	mu    sync.Mutex // held while a message is worked on: a repetition waits for the answer
	next  uint32
	print [32]byte
	need  Need
}

// once does the work of a message if it is the next one of its stream, and answers a repetition of the last one from
// memory. Every other number is refused with fault.Conflict and changes nothing: it is a message that was delayed and has
// been repeated and answered since, or a source that does not wait.
//
// A message that was begun is finished even if its caller goes away: half a message would leave the session in no state to
// go on from.
func (x *Session) once(ctx context.Context, b Batch, print func() [32]byte, work func(context.Context) (Need, error)) (Need, error) {
	if b.Stream >= MaxStreams {
		return Need{}, x.fail(fault.New(fault.Limit, "stream %d, and a session has %d", b.Stream, MaxStreams))
	}
	x.going.RLock()
	defer x.going.RUnlock()
	st := &x.streams[b.Stream]
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := x.check(); err != nil {
		return Need{}, err
	}
	if err := ctx.Err(); err != nil {
		return Need{}, context.Cause(ctx)
	}
	switch {
	case st.next > 0 && b.Number == st.next-1:
		if print() != st.print {
			return Need{}, x.fail(fault.New(fault.Invalid, "message %d of stream %d came again with other content", b.Number, b.Stream))
		}
		return st.need, nil
	case b.Number != st.next:
		return Need{}, fault.New(fault.Conflict, "message %d of stream %d came, %d is next: send the messages of a stream one after the other, and only the last one again",
			b.Number, b.Stream, st.next)
	}
	need, err := work(context.WithoutCancel(ctx))
	if err != nil {
		return Need{}, x.fail(err)
	}
	st.next, st.print, st.need = b.Number+1, print(), need
	return need, nil
}

// The fingerprints tell whether a message is the one that was answered. Content stands in them by its hash, which the
// first one was checked against.

func (m *Compare) print() [32]byte {
	b := []byte("compare")
	for i := range m.Pages {
		p := &m.Pages[i]
		b = append(append(b, p.Hash[:]...), p.Level)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p.First))), p.First...)
	}
	return chunk.Sum(b)
}

func (m *Offer) print() [32]byte {
	b := append(make([]byte, 0, 8+36*len(m.Chunks)), "offer"...)
	for i := range m.Chunks {
		b = binary.LittleEndian.AppendUint32(append(b, m.Chunks[i].Hash[:]...), m.Chunks[i].Size)
	}
	return chunk.Sum(b)
}

func printFrames(frames []Frame) [32]byte {
	b := append(make([]byte, 0, 8+44*len(frames)), "frames"...)
	for i := range frames {
		f := &frames[i]
		list := byte(0)
		if f.List {
			list = 1
		}
		b = append(append(b, f.Hash[:]...), f.Alg, list)
		b = binary.LittleEndian.AppendUint32(b, f.Size)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Stored)))
	}
	return chunk.Sum(b)
}
