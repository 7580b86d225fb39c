package repo

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"strongroom/internal/fault"
	"strongroom/internal/repo/chunk"
	"strongroom/internal/repo/seal"
)

// line is an entry of a page, written by hand.
type line struct {
	shared uint64
	path   string
	flags  uint64
	typ    byte
	mode   uint64
	rest   []byte // after the numbers that every entry has
}

func leafOf(count uint64, lines ...line) []byte {
	var e seal.Encoder
	e.Raw([]byte{1, 0})
	e.Uint(count)
	for _, l := range lines {
		e.Uint(l.shared)
		e.String(l.path)
		e.Uint(l.flags)
		e.Raw([]byte{l.typ})
		e.Uint(l.mode)
		e.Raw(make([]byte, 7)) // uid, gid, times, nlink, dev, ino
		e.Raw(l.rest)
	}
	return e.B
}

func listOf(depth byte, count uint64, refs ...any) []byte {
	var e seal.Encoder
	e.Raw([]byte{1, depth})
	e.Uint(count)
	for _, r := range refs {
		switch r := r.(type) {
		case seal.Hash:
			e.Raw(r[:])
		case int:
			e.Uint(uint64(r))
		}
	}
	return e.B
}

// Not parallel: it measures what is allocated.
func TestEveryLimitOfTheConversationHoldsBeforeMemoryIsSpent(t *testing.T) {
	r := newDestination(t)
	compressed := func(p []byte) []byte {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
		must(t, err)
		return w.EncodeAll(p, nil)
	}
	bomb := compressed(make([]byte, 256<<20))
	// A header that claims a window of 2 GB and no size.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00}
	own := []byte("content that the session has")
	h := chunk.Sum(own)
	root := line{typ: 1, mode: 0o755}
	page := func(lines ...line) []Frame {
		return []Frame{frameOf(leafOf(uint64(len(lines)), lines...))}
	}
	file := func(path string) line { return line{path: path, typ: 2} }
	list := func(b []byte) Frame { f := frameOf(b); f.List = true; return f }
	good := listOf(0, 1, h, len(own))
	above := func(depth byte, hash seal.Hash, size int) Frame { return list(listOf(depth, 1, hash, size)) }
	var refs seal.Encoder // a file that consists of one list
	refs.Raw([]byte{1})
	refs.Uint(1)
	refs.Raw(h[:])
	refs.Uint(uint64(len(own)))
	for _, c := range []struct {
		limit string // as docs/FORMAT.md, §15 and §8, state it
		say   func(talk) error
		kinds []fault.Kind
	}{
		{"an offer names at most 4,096 chunks", func(s talk) error {
			_, err := s.Offer(t.Context(), Offer{Chunks: make([]OfferedChunk, MaxOffer+1)})
			return err
		}, []fault.Kind{fault.Limit}},
		{"a comparison names at most 1,024 pages", func(s talk) error {
			_, err := s.Compare(t.Context(), Compare{Pages: make([]OfferedPage, MaxCompare+1)})
			return err
		}, []fault.Kind{fault.Limit}},
		{"and 16 MiB of paths", func(s talk) error {
			long := strings.Repeat("p", MaxMessage/2+1)
			_, err := s.Compare(t.Context(), Compare{Pages: []OfferedPage{{First: long}, {First: long}}})
			return err
		}, []fault.Kind{fault.Limit}},
		{"a session has 64 streams", func(s talk) error {
			return s.Session.Data(t.Context(), Data{Batch: Batch{Stream: MaxStreams}, Frames: []Frame{frameOf(own)}})
		}, []fault.Kind{fault.Limit}},
		{"a message has at most 256 frames", func(s talk) error { return s.Data(t.Context(), Data{Frames: make([]Frame, MaxFrames+1)}) }, []fault.Kind{fault.Limit}},
		{"and 16 MiB", func(s talk) error {
			big := frameOf(make([]byte, 4<<20))
			return s.Data(t.Context(), Data{Frames: []Frame{big, big, big, big, frameOf(own)}})
		}, []fault.Kind{fault.Limit}},
		{"a frame is at most 4 MiB", func(s talk) error {
			return s.Data(t.Context(), Data{Frames: []Frame{{Size: 4<<20 + 1, Alg: 1, Stored: own}}})
		}, []fault.Kind{fault.Invalid}},
		{"and decompresses to no more than it announces (a bomb)", func(s talk) error {
			return s.Data(t.Context(), Data{Frames: []Frame{{Hash: h, Size: 4 << 20, Alg: 1, Stored: bomb}}})
		}, []fault.Kind{fault.Invalid}},
		{"whatever window it claims", func(s talk) error {
			return s.Data(t.Context(), Data{Frames: []Frame{{Hash: h, Size: 1 << 20, Alg: 1, Stored: window}}})
		}, []fault.Kind{fault.Invalid}},
		{"and is not longer than its content", func(s talk) error {
			return s.Data(t.Context(), Data{Frames: []Frame{{Hash: h, Size: 3, Stored: own}}})
		}, []fault.Kind{fault.Invalid}},

		{"a page has as many lines as it says", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{frameOf(leafOf(1<<60, root))}})
		}, []fault.Kind{fault.Corrupt}},
		{"and at most 32,768", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{frameOf(append(leafOf(32769), bytes.Repeat([]byte{0}, 1<<20)...))}})
		}, []fault.Kind{fault.Corrupt}},
		{"and at least one", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page()}) }, []fault.Kind{fault.Corrupt}},
		{"the levels are 13", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{frameOf(append([]byte{1, 13}, leafOf(1, root)[2:]...))}})
		}, []fault.Kind{fault.Corrupt}},
		{"a page stands for pages that were sent, not for itself or others", func(s talk) error {
			var e seal.Encoder
			e.Raw([]byte{1, 1, 1, 0, 0})
			e.Raw(h[:])
			e.Raw([]byte{1, 0})
			return s.Pages(t.Context(), Pages{Frames: []Frame{frameOf(e.B)}})
		}, []fault.Kind{fault.Invalid}},
		{"an entry has at most 32,768 attributes", func(s talk) error {
			var e seal.Encoder
			e.Uint(1 << 40)
			return s.Pages(t.Context(), Pages{Frames: page(root, line{path: "a", typ: 2, flags: 1 << 6, rest: e.B})})
		}, []fault.Kind{fault.Corrupt}},
		{"and really as many extents as it says", func(s talk) error {
			var e seal.Encoder
			e.Uint(1 << 40)
			return s.Pages(t.Context(), Pages{Frames: page(root, line{path: "a", typ: 2, flags: 1 << 7, rest: e.B})})
		}, []fault.Kind{fault.Corrupt}},
		{"a list has as many lines as it says", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{list(listOf(0, 1<<50, h, 1))}})
		}, []fault.Kind{fault.Corrupt}},
		{"and at least one, of content", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: []Frame{list(listOf(0, 1, h, 0))}}) }, []fault.Kind{fault.Corrupt}},
		{"lists are 8 deep", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: []Frame{above(9, h, 1)}}) }, []fault.Kind{fault.Corrupt}},
		{"a list names lists of the depth below", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{list(good), above(2, chunk.Sum(good), len(own))}})
		}, []fault.Kind{fault.Invalid}},
		{"with their sizes", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{list(good), above(1, chunk.Sum(good), len(own)+1)}})
		}, []fault.Kind{fault.Invalid}},
		{"that were sent before it", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{above(1, chunk.Sum(good), len(own))}})
		}, []fault.Kind{fault.Denied}},
		{"and of 4 EiB together", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: []Frame{list(listOf(0, 2, h, 1<<62, h, 1<<62))}})
		}, []fault.Kind{fault.Invalid, fault.Corrupt}},
		{"chunks are as long as an entry says", func(s talk) error {
			var e seal.Encoder
			e.Uint(uint64(len(own) + 1))
			e.Raw(listOf(0, 1, h, len(own)+1)[2:])
			return s.Pages(t.Context(), Pages{Frames: page(root, line{path: "a", typ: 2, flags: 3<<12 | 1<<2, rest: e.B})})
		}, []fault.Kind{fault.Invalid}},
		{"and hold the part that it names", func(s talk) error {
			var e seal.Encoder
			e.Uint(uint64(len(own)))
			e.Raw(h[:])
			e.Uint(1)
			e.Uint(uint64(len(own)))
			return s.Pages(t.Context(), Pages{Frames: page(root, line{path: "a", typ: 2, flags: 2<<12 | 1<<2, rest: e.B})})
		}, []fault.Kind{fault.Invalid}},
		{"a leaf names lists that were sent for it", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: page(root, line{path: "a", typ: 2, flags: 4<<12 | 1<<2, rest: append([]byte{byte(len(own))}, refs.B...)})})
		}, []fault.Kind{fault.Denied}},

		{"paths lead nowhere else: ..", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(root, file(".."))}) }, []fault.Kind{fault.Corrupt}},
		{"nor to the root", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(root, file("/etc/passwd"))}) }, []fault.Kind{fault.Corrupt}},
		{"nor anywhere through an element", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(root, file("a/../../b"))}) }, []fault.Kind{fault.Corrupt}},
		{"and have no empty elements", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(root, file("a//b"))}) }, []fault.Kind{fault.Corrupt}},
		{"and no zero bytes", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(root, file("a\x00b"))}) }, []fault.Kind{fault.Corrupt}},
		{"and come in order", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(root, file("b"), file("a"))}) }, []fault.Kind{fault.Corrupt}},
		{"also from page to page", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: append(page(root, file("b")), page(file("a"))...)})
		}, []fault.Kind{fault.Invalid}},
		{"types are known", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(line{typ: 9})}) }, []fault.Kind{fault.Corrupt}},
		{"modes are modes", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(line{typ: 1, mode: 0o10000})}) }, []fault.Kind{fault.Corrupt}},
		{"content is as long as the size says", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: page(root, line{path: "a", typ: 2, flags: 1 << 2, rest: []byte{200, 1}})})
		}, []fault.Kind{fault.Corrupt}},
		{"directories have none", func(s talk) error {
			return s.Pages(t.Context(), Pages{Frames: page(line{typ: 1, flags: 1 << 12, rest: []byte{1, 'x'}})})
		}, []fault.Kind{fault.Corrupt}},
		{"flags are known", func(s talk) error { return s.Pages(t.Context(), Pages{Frames: page(line{typ: 1, flags: 1 << 9})}) }, []fault.Kind{fault.Corrupt}},
		{"the first entry is the root", func(s talk) error {
			frames := page(file("a"))
			if err := s.Pages(t.Context(), Pages{Frames: frames}); err != nil {
				return err
			}
			_, err := s.Seal(t.Context(), Seal{Root: frames[0].Hash})
			return err
		}, []fault.Kind{fault.Invalid}},
	} {
		t.Run(c.limit, func(t *testing.T) {
			s := ingest(t, r, "hostile", "r")
			defer s.Abort()
			must(t, s.Data(t.Context(), Data{Frames: []Frame{frameOf(own)}}))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.say(s)
			runtime.ReadMemStats(&after)
			wantFault(t, err, c.kinds...)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<20 {
				t.Errorf("%d MB were allocated", spent>>20)
			}
			if err := s.Session.Data(t.Context(), Data{Batch: Batch{Stream: 9}, Frames: []Frame{frameOf(own)}}); err == nil {
				t.Error("the session goes on")
			}
		})
	}
	if ids, err := r.stored(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
}
