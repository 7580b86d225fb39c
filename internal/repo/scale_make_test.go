package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// synthetic describes a vault that is made without data: index, reference sets, commit records and journal of what would be
// many terabytes. Its packs exist in the index only.
type synthetic struct {
	dir    string
	packs  int // of scaleFrames chunks each
	lines  int // resources, which divide the packs among them
	points int // per resource
}

const (
	scaleFrames = 100
	// scaleChurn is by how much of a resource's packs each recovery point after the first grows.
	scaleChurn = 200
	scaleVault = "00000000-0000-4000-8000-00000000000c"
)

var scaleStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (y synthetic) chunks() int { return y.packs * scaleFrames }

func mix(x uint64) uint64 { // splitmix64
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// scaleID is the id of a chunk; frame f of pack p is number p*scaleFrames+f.
func scaleID(n uint64) (id seal.Short) {
	binary.BigEndian.PutUint64(id[:], mix(2*n))
	binary.BigEndian.PutUint64(id[8:], mix(2*n+1))
	return id
}

func scalePack(p int) pack.Info {
	i := pack.Info{Class: pack.ClassData, Frames: scaleFrames, Size: 64 << 20, FooterOff: 63 << 20, FooterLen: 8192}
	binary.BigEndian.PutUint64(i.ID[:], mix(uint64(p)<<32|1))
	binary.BigEndian.PutUint64(i.ID[8:], mix(uint64(p)<<32|3))
	return i
}

func scaleConfig(store blob.Store, root bool) Config {
	c := Config{Store: store, Vault: scaleVault, Clock: clock.NewFake(scaleStart), Workers: 2, Maint: bytes.Repeat([]byte{13}, 32)}
	if root {
		c.Root = bytes.Repeat([]byte{12}, 32)
	}
	return c
}

// scaleEntries are the index entries of packs from…to.
func scaleEntries(from, to int) (entries []index.Entry, packs []pack.Info) {
	entries = make([]index.Entry, 0, (to-from)*scaleFrames)
	for p := from; p < to; p++ {
		for f := range scaleFrames {
			entries = append(entries, index.Entry{ID: scaleID(uint64(p*scaleFrames + f)), Pack: uint32(p - from), Frame: uint32(f)})
		}
		packs = append(packs, scalePack(p))
	}
	return entries, packs
}

// make writes the vault.
func (y synthetic) make(ctx context.Context) error {
	store, err := disk.Open(y.dir)
	if err != nil {
		return err
	}
	r, err := Create(ctx, scaleConfig(store, true), Descriptor{Owner: "111111111111", Name: "scale", Region: "local"}, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	const batch = 10_000
	for p := 0; p < y.packs; p += batch {
		entries, packs := scaleEntries(p, min(p+batch, y.packs))
		if err := r.v.index.Publish(ctx, entries, packs); err != nil {
			return err
		}
		if err := r.v.index.Compact(ctx); err != nil {
			return err
		}
	}
	points := map[string]journaled{}
	for line := range y.lines {
		if err := y.makeLine(r, line, points); err != nil {
			return err
		}
	}
	r.v.journal.mu.Lock()
	defer r.v.journal.mu.Unlock()
	r.v.journal.points = points
	return r.v.journal.append(ctx, journalEntry{kind: jCheckpoint, at: scaleStart})
}

func (y synthetic) id(line, n int) string { return fmt.Sprintf("rp-%05d-%05d", line, n) }

// makeLine writes the recovery points of one resource: the first refers to a part of its packs, each later one to some more,
// and of every fifth pack to half of the frames only.
func (y synthetic) makeLine(r *Repository, line int, points map[string]journaled) error {
	from, to := y.packs/y.lines*line, y.packs/y.lines*(line+1)
	churn := max(1, (to-from)/scaleChurn)
	first := max(from+1, to-churn*(y.points-1))
	all := newRefSet()
	var base *refsObject
	for n := range y.points {
		begin, end := from, first
		if n > 0 {
			begin, end = min(first+churn*(n-1), to-1), min(first+churn*n, to)
		}
		added := newRefSet()
		for p := begin; p < end; p++ {
			for _, set := range []*refSet{all, added} {
				if p%5 != 0 {
					set.addAll(uint32(p), scaleFrames)
					continue
				}
				for f := uint32(0); f < scaleFrames; f += 2 {
					set.add(uint32(p), f, scaleFrames)
				}
			}
		}
		id := y.id(line, n)
		at := scaleStart.Add(time.Duration(n)*time.Hour - 10*365*24*time.Hour)
		rec := &record{id: id, committed: at, attempt: attempt{byte(n), byte(n >> 8), byte(line), byte(line >> 8), 1}, open: true,
			meta: Meta{Owner: "111111111111", ResourceARN: fmt.Sprintf("arn:aws:elasticfilesystem:local:111111111111:file-system/fs-%08x", line), RecoveryPointARN: "arn:aws:backup:local:111111111111:recovery-point:" + id, ResourceType: "EFS", Created: at},
			root: seal.Hash{byte(n)}, stats: Stats{Entries: 1000, Files: 900, LogicalBytes: 1 << 40}}
		key := refsKey{id: id, attempt: rec.attempt}
		set := added
		if base == nil || base.depth == maxDepth {
			base, set = nil, all
		}
		if err := y.write(key.name(), encodeRefs(key, base, set, r.v.index.Pack, r.maint)); err != nil {
			return err
		}
		if base == nil {
			base = &refsObject{key: key}
		} else {
			base = &refsObject{key: key, depth: base.depth + 1}
		}
		if err := y.write(pointName(id), rec.encode(r.root, r.maint)); err != nil {
			return err
		}
		points[id] = journaled{}
	}
	return nil
}

// write makes an object without waiting for the disk.
func (y synthetic) write(name string, data []byte) error {
	path := filepath.Join(y.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
