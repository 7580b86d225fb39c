// Package index answers where a chunk is: in which pack, at which frame.
//
// The index is a set of segments, immutable sorted runs in the store. A segment holds pairs of (short chunk id, place) in
// blocks of 4 KiB, each with a tag, the table of the packs it names, and a Bloom filter. Small repositories keep all pairs
// in memory; beyond a budget a segment stays in the store and only its filter is loaded, so that memory grows by about ten
// bits per chunk and a look-up costs one or two small reads.
//
// The index is not the truth: every pack holds its own directory, and the index can be rebuilt from them. It says nothing
// about who needs a chunk. It is authenticated by the maintenance key and readable without the customer's.
//
// Start with Set; a segment's bytes are in this file and in write.go.
package index

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

const (
	prefix     = "index/"
	blockSize  = 4096
	pairSize   = 24
	perBlock   = (blockSize - seal.BlockTagSize) / pairSize // 170
	footerSize = 128
	packSize   = 48
	maxMeta    = 1 << 30
	// filterBits is the size of the filter per pair: about 1 % false positives.
	filterBits = 10
)

var footerMagic = [8]byte{'S', 'R', 'I', 'N', 'D', 'X', 0, 1}

// SegmentID names a segment.
type SegmentID [16]byte

func newSegmentID() (id SegmentID) {
	rand.Read(id[:])
	return id
}

// Name returns the name of the segment's object.
func (s SegmentID) Name() string { return prefix + hex.EncodeToString(s[:]) }

// ParseName is the inverse of Name.
func ParseName(name string) (id SegmentID, ok bool) {
	raw, err := hex.DecodeString(strings.TrimPrefix(name, prefix))
	return id, err == nil && copy(id[:], raw) == len(raw) && id.Name() == name
}

// Entry says where one chunk is. Pack counts in whatever table of packs goes with it.
type Entry struct {
	ID    seal.Short
	Pack  uint32
	Frame uint32
}

func (e *Entry) append(b []byte) []byte {
	b = append(b, e.ID[:]...)
	b = binary.LittleEndian.AppendUint32(b, e.Pack)
	return binary.LittleEndian.AppendUint32(b, e.Frame)
}

func decodePair(b []byte) (e Entry) {
	copy(e.ID[:], b)
	e.Pack = binary.LittleEndian.Uint32(b[16:])
	e.Frame = binary.LittleEndian.Uint32(b[20:])
	return e
}

// segment is an open segment: everything but its blocks is in memory.
type segment struct {
	id       SegmentID
	size     int64
	pairs    uint64
	packs    []pack.Info
	replaces []SegmentID
	filter   filter

	slots []uint32 // the set's pack numbers, by the segment's
}

func (s *segment) blocks() uint32 { return uint32((s.pairs + perBlock - 1) / perBlock) }

// footer is the end of a segment.
//
//	magic 8 · pairs 8 · packs 4 · replaces 4 · filter bytes 8 · vault 16 · zero 48 · tag 32
func (s *segment) footer(m *seal.Maint, meta []byte) []byte {
	vault := m.Vault()
	b := make([]byte, 0, footerSize)
	b = append(b, footerMagic[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.pairs)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.packs)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.replaces)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.filter)))
	b = append(b, vault[:]...)
	b = append(b, make([]byte, 48)...)
	return append(b, m.Tag(s.id.Name(), b, meta)...)
}

// meta encodes the pack table, the replaced segments and the filter, in this order.
func (s *segment) meta() []byte {
	b := make([]byte, 0, len(s.packs)*packSize+len(s.replaces)*16+len(s.filter))
	for _, p := range s.packs {
		b = append(b, p.ID[:]...)
		b = append(b, p.Class, 0, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, p.Frames)
		b = binary.LittleEndian.AppendUint64(b, uint64(p.Size))
		b = binary.LittleEndian.AppendUint64(b, uint64(p.FooterOff))
		b = binary.LittleEndian.AppendUint32(b, p.FooterLen)
		b = append(b, 0, 0, 0, 0)
	}
	for _, r := range s.replaces {
		b = append(b, r[:]...)
	}
	return append(b, s.filter...)
}

func corrupt(name, reason string) error {
	return fault.New(fault.Corrupt, "index %s: %s", name, reason).WithResource(name)
}

// openSegment reads and authenticates everything of a segment but its blocks.
func openSegment(ctx context.Context, store blob.Store, m *seal.Maint, info blob.Info) (*segment, error) {
	s := &segment{size: info.Size}
	var ok bool
	if s.id, ok = ParseName(info.Name); !ok || info.Size < footerSize {
		return nil, corrupt(info.Name, "too short or misnamed")
	}
	foot := make([]byte, footerSize)
	if err := store.ReadAt(ctx, info.Name, foot, info.Size-footerSize); err != nil {
		return nil, err
	}
	s.pairs = binary.LittleEndian.Uint64(foot[8:])
	packs := int64(binary.LittleEndian.Uint32(foot[16:]))
	replaces := int64(binary.LittleEndian.Uint32(foot[20:]))
	filterLen := int64(binary.LittleEndian.Uint64(foot[24:]))
	if s.pairs > 1<<40 || filterLen < 0 || filterLen > maxMeta || packs > maxMeta/packSize {
		return nil, corrupt(info.Name, "impossible counts")
	}
	n := packs*packSize + replaces*16 + filterLen
	start := int64(s.blocks()) * blockSize
	if n > maxMeta || start+n+footerSize != info.Size {
		return nil, corrupt(info.Name, "its size does not fit its counts")
	}
	meta := make([]byte, n)
	if err := store.ReadAt(ctx, info.Name, meta, start); err != nil {
		return nil, err
	}
	if err := s.parseMeta(meta, int(packs), int(replaces)); err != nil {
		return nil, corrupt(info.Name, err.Error())
	}
	if !seal.Equal(s.footer(m, meta), foot) || string(s.meta()) != string(meta) {
		return nil, corrupt(info.Name, "it does not authenticate")
	}
	return s, nil
}

func (s *segment) parseMeta(meta []byte, packs, replaces int) error {
	for range packs {
		b := meta[:packSize]
		i := pack.Info{
			Class: b[16], Frames: binary.LittleEndian.Uint32(b[20:]),
			Size: int64(binary.LittleEndian.Uint64(b[24:])), FooterOff: int64(binary.LittleEndian.Uint64(b[32:])),
			FooterLen: binary.LittleEndian.Uint32(b[40:]),
		}
		copy(i.ID[:], b)
		s.packs = append(s.packs, i)
		meta = meta[packSize:]
	}
	for range replaces {
		s.replaces = append(s.replaces, SegmentID(meta[:16]))
		meta = meta[16:]
	}
	s.filter = filter(meta)
	return s.filter.valid()
}

// readBlock reads and authenticates block n into b and returns its pairs.
func (s *segment) readBlock(ctx context.Context, store blob.Store, m *seal.Maint, n uint32, b []byte) ([]byte, error) {
	b = b[:blockSize]
	if err := store.ReadAt(ctx, s.id.Name(), b, int64(n)*blockSize); err != nil {
		return nil, err
	}
	return s.checkBlock(m, n, b)
}

// checkBlock authenticates one block and returns its pairs.
func (s *segment) checkBlock(m *seal.Maint, n uint32, b []byte) ([]byte, error) {
	tag := m.BlockTag(s.id, n, b[:perBlock*pairSize])
	if !seal.Equal(tag[:], b[perBlock*pairSize:]) {
		return nil, corrupt(s.id.Name(), "a block does not authenticate")
	}
	count := min(perBlock, s.pairs-uint64(n)*perBlock)
	return b[:count*pairSize], nil
}

// find looks a chunk up in a segment that is not in memory. Several pairs may have the same id: each is offered to take
// until it says yes.
func (s *segment) find(ctx context.Context, store blob.Store, m *seal.Maint, id seal.Short, take func(Entry) bool) (bool, error) {
	if s.pairs == 0 || !s.filter.has(id) {
		return false, nil
	}
	var buf [blockSize]byte
	at, pairs := uint32(0), []byte(nil)
	read := func(n uint32) (err error) {
		if pairs == nil || n != at {
			at = n
			pairs, err = s.readBlock(ctx, store, m, n, buf[:])
		}
		return err
	}
	// The first block whose last id is not below id is in [lo, hi]. The ids are uniform, so their value says about where.
	blocks := s.blocks()
	lo, hi, x := uint32(0), blocks, position(id[:])
	loVal, hiVal := 0.0, 1.0
	for probe := 0; lo < hi; probe++ {
		n := lo + (hi-lo)/2
		if probe < 6 && hiVal > loVal {
			n = lo + uint32(max(0, min(1, (x-loVal)/(hiVal-loVal)))*float64(hi-lo))
			n = min(n, hi-1)
		}
		if err := read(n); err != nil {
			return false, err
		}
		first, last := pairs[:16], pairs[len(pairs)-pairSize:][:16]
		if string(last) < string(id[:]) {
			lo, loVal = n+1, position(last)
			continue
		}
		hi, hiVal = n, position(first)
		if string(first) < string(id[:]) {
			lo = n
		}
	}
	for n := lo; n < blocks; n++ {
		if err := read(n); err != nil {
			return false, err
		}
		for rest := pairs; len(rest) > 0; rest = rest[pairSize:] {
			e := decodePair(rest)
			if e.ID == id && take(e) {
				return true, nil
			}
			if string(e.ID[:]) > string(id[:]) {
				return false, nil
			}
		}
	}
	return false, nil
}

// position maps an id to [0, 1).
func position(id []byte) float64 { return float64(binary.BigEndian.Uint64(id)) / (1 << 64) }
