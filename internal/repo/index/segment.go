// Package index answers where a chunk is: in which pack, at which frame.
//
// The index is a set of segments, immutable sorted runs in the store. A segment holds pairs of (short chunk id, place) in
// blocks of 4 KiB, each with a tag, the table of the packs it names, the first id of each block and a Bloom filter. Small
// repositories keep all pairs in memory; beyond a budget a segment stays in the store and only its filter, its table of packs
// and the blocks' first ids are loaded, so that memory grows by about ten bits per chunk and sixty bytes per pack; looking up
// a chunk that is there costs the read of one block, and one that is not there costs none.
//
// Packs are dropped by naming them in a new segment; the pairs of dropped packs go when segments are merged.
//
// The index is not the truth: every pack holds its own directory, and the index can be rebuilt from them. It says nothing
// about who needs a chunk. It is authenticated by the maintenance key and readable without the customer's.
//
// Start with Set; a segment's bytes are in this file and in write.go.
package index

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sort"
	"strings"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

const (
	prefix     = "index/"
	blockSize  = 4096
	pairSize   = 24
	perBlock   = (blockSize - seal.BlockTagSize) / pairSize // 170
	footerSize = 128
	fenceSize  = 4
	dropSize   = 24
	maxMeta    = 1 << 30
	// maxPairs bounds the segments that are made by merging, so that what must be read to open one stays below maxMeta.
	maxPairs = 1 << 28
	// filterBits is the size of the filter per pair: about 1 % of the ids that are not there pass.
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

// drop says that a pack is gone: its pairs in segments of a lower sequence do not count.
type drop struct {
	pack     seal.PackID
	sequence uint64
}

// segment is an open segment: everything but its blocks is in memory.
type segment struct {
	id       SegmentID
	sequence uint64
	pairs    uint64
	packs    uint32
	replaces []SegmentID
	drops    []drop
	table    *region // the packs as in the store; released once slots are known
	meta     *region // fences and filter
	fences   []byte  // of meta: the first four bytes of each block's first id
	filter   filter  // of meta
	resident *region // all pairs, if they are in memory

	slots []uint32 // the set's pack numbers, by the segment's
}

func blocksOf(pairs uint64) int { return int((pairs + perBlock - 1) / perBlock) }

func (s *segment) blocks() uint32 { return uint32(blocksOf(s.pairs)) }

// newMeta makes room for fences and filter.
func (s *segment) newMeta(pairs uint64, filterLen int) {
	n := blocksOf(pairs) * fenceSize
	s.meta = newRegion(n + filterLen)
	s.fences, s.filter = s.meta.b[:n:n], filter(s.meta.b[n:])
}

// release gives back the memory of a segment that nobody uses any more.
func (s *segment) release() {
	s.fences, s.filter = nil, nil
	for _, r := range []*region{s.table, s.meta, s.resident} {
		r.release()
	}
}

// lists encodes the replaced segments and the dropped packs, in this order.
func (s *segment) lists() []byte {
	b := make([]byte, 0, len(s.replaces)*16+len(s.drops)*dropSize)
	for _, r := range s.replaces {
		b = append(b, r[:]...)
	}
	for _, d := range s.drops {
		b = append(b, d.pack[:]...)
		b = binary.LittleEndian.AppendUint64(b, d.sequence)
	}
	return b
}

// footer is the end of a segment.
//
//	magic 8 · pairs 8 · packs 4 · replaces 4 · filter bytes 8 · vault 16 · sequence 8 · drops 4 · zero 36 · tag 32
func (s *segment) footer(m *seal.Maint, lists []byte) []byte {
	vault := m.Vault()
	b := make([]byte, 0, footerSize)
	b = append(b, footerMagic[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.pairs)
	b = binary.LittleEndian.AppendUint32(b, s.packs)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.replaces)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.filter)))
	b = append(b, vault[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.sequence)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.drops)))
	b = append(b, make([]byte, 36)...)
	return append(b, m.Tag(s.id.Name(), b, s.table.b, lists, s.fences, s.filter)...)
}

func corrupt(name, reason string) error {
	return fault.New(fault.Corrupt, "index %s: %s", name, reason).WithResource(name)
}

// openSegment reads and authenticates everything of a segment but its blocks.
func openSegment(ctx context.Context, store blob.Store, m *seal.Maint, info blob.Info) (_ *segment, err error) {
	s := &segment{}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	var ok bool
	if s.id, ok = ParseName(info.Name); !ok || info.Size < footerSize {
		return nil, corrupt(info.Name, "too short or misnamed")
	}
	foot := make([]byte, footerSize)
	if err := store.ReadAt(ctx, info.Name, foot, info.Size-footerSize); err != nil {
		return nil, err
	}
	s.pairs = binary.LittleEndian.Uint64(foot[8:])
	s.packs = binary.LittleEndian.Uint32(foot[16:])
	s.sequence = binary.LittleEndian.Uint64(foot[48:])
	replaces, drops := int64(binary.LittleEndian.Uint32(foot[20:])), int64(binary.LittleEndian.Uint32(foot[56:]))
	filterLen := int64(binary.LittleEndian.Uint64(foot[24:]))
	if s.pairs > 1<<40 || filterLen < 0 || filterLen > maxMeta {
		return nil, corrupt(info.Name, "impossible counts")
	}
	tableLen, listsLen, fencesLen := int64(s.packs)*packLine, replaces*16+drops*dropSize, int64(s.blocks())*fenceSize
	n, at := tableLen+listsLen+fencesLen+filterLen, int64(s.blocks())*blockSize
	if n > maxMeta || at+n+footerSize != info.Size {
		return nil, corrupt(info.Name, "its size does not fit its counts")
	}
	lists := make([]byte, listsLen)
	s.table = newRegion(int(tableLen))
	s.newMeta(s.pairs, int(filterLen))
	for _, part := range [][]byte{s.table.b, lists, s.meta.b} {
		if len(part) > 0 {
			if err := store.ReadAt(ctx, info.Name, part, at); err != nil {
				return nil, err
			}
		}
		at += int64(len(part))
	}
	for rest := lists[:replaces*16]; len(rest) > 0; rest = rest[16:] {
		s.replaces = append(s.replaces, SegmentID(rest[:16]))
	}
	for rest := lists[replaces*16:]; len(rest) > 0; rest = rest[dropSize:] {
		s.drops = append(s.drops, drop{seal.PackID(rest[:16]), binary.LittleEndian.Uint64(rest[16:])})
	}
	if !seal.Equal(s.footer(m, lists), foot) {
		return nil, corrupt(info.Name, "it does not authenticate")
	}
	if err := s.filter.valid(); err != nil {
		return nil, corrupt(info.Name, err.Error())
	}
	var line [packLine]byte
	for rest := s.table.b; len(rest) > 0; rest = rest[packLine:] {
		if putPack(line[:], getPack(rest)); string(line[:]) != string(rest[:packLine]) {
			return nil, corrupt(info.Name, "reserved bytes are not zero")
		}
	}
	return s, nil
}

// readBlocks reads and authenticates the blocks from n on into b, as many as fit, and returns how many.
func (s *segment) readBlocks(ctx context.Context, store blob.Store, m *seal.Maint, n uint32, b []byte) (uint32, error) {
	k := min(uint32(len(b)/blockSize), s.blocks()-n)
	b = b[:int(k)*blockSize]
	if err := store.ReadAt(ctx, s.id.Name(), b, int64(n)*blockSize); err != nil {
		return 0, err
	}
	for i := range k {
		block := b[int(i)*blockSize:][:blockSize]
		tag := m.BlockTag(s.id, n+i, block[:perBlock*pairSize])
		if !seal.Equal(tag[:], block[perBlock*pairSize:]) {
			return 0, corrupt(s.id.Name(), "a block does not authenticate")
		}
	}
	return k, nil
}

// pairsOf returns the pairs in block n.
func (s *segment) pairsOf(n uint32, block []byte) []byte {
	count := min(perBlock, s.pairs-uint64(n)*perBlock)
	return block[:count*pairSize]
}

// find looks a chunk up. Several pairs may have the same id: each is offered to take until it says yes.
func (s *segment) find(ctx context.Context, store blob.Store, m *seal.Maint, id seal.Short, take func(Entry) bool) (bool, error) {
	if s.pairs == 0 || !s.filter.has(id) {
		return false, nil
	}
	if s.resident != nil {
		pairs := s.resident.b[:s.pairs*pairSize]
		n := sort.Search(int(s.pairs), func(i int) bool { return string(pairs[i*pairSize:][:16]) >= string(id[:]) })
		return scan(pairs[n*pairSize:], id, take), nil
	}
	// The id is in the last block that begins below it, or in those after it that begin with the same bytes.
	fence := func(i int) uint32 { return binary.BigEndian.Uint32(s.fences[i*fenceSize:]) }
	x, blocks := binary.BigEndian.Uint32(id[:]), int(s.blocks())
	n := max(0, sort.Search(blocks, func(i int) bool { return fence(i) >= x })-1)
	var buf [blockSize]byte
	for ; n < blocks && fence(n) <= x; n++ {
		if _, err := s.readBlocks(ctx, store, m, uint32(n), buf[:]); err != nil {
			return false, err
		}
		if scan(s.pairsOf(uint32(n), buf[:]), id, take) {
			return true, nil
		}
	}
	return false, nil
}

// scan offers the pairs of an id to take, until it says yes. The pairs ascend.
func scan(pairs []byte, id seal.Short, take func(Entry) bool) bool {
	for ; len(pairs) > 0; pairs = pairs[pairSize:] {
		switch c := bytes.Compare(pairs[:16], id[:]); {
		case c > 0:
			return false
		case c == 0 && take(decodePair(pairs)):
			return true
		}
	}
	return false
}
