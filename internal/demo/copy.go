package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

// copyTree copies a directory with everything in it, metadata included, to a path below the scratch directory that does
// not exist yet. Objects that cannot be read or made are left out and counted: the demo is about what was copied.
func (s *story) copyTree(ctx context.Context, from, to string, progress func(bytes int64)) (leftOut int, err error) {
	source, err := files.New(files.Config{Root: from}).Source(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	root := os.Geteuid() == 0
	target, err := files.New(files.Config{Root: filepath.Dir(to), Options: files.Options{Ownership: root, SetID: true, Devices: root}}).
		Target(ctx, resource.Request{ID: "demo", CreatedAt: s.clock.Now()})
	if err != nil {
		return 0, err
	}
	defer target.Close()
	buf := make([]byte, 1<<20)
	var done int64
	err = source.Walk(ctx, func(it tree.Item) error {
		if it.Entry.Problem != "" {
			leftOut++
			if it.Entry.Type != tree.Dir {
				return nil
			}
		}
		n, err := copyOne(ctx, target, it, buf)
		done += n
		progress(done)
		var no *tree.Refused
		if errors.As(err, &no) {
			leftOut++
			return nil
		}
		return err
	})
	if err != nil {
		return leftOut, err
	}
	if err := target.Finish(ctx); err != nil {
		return leftOut, err
	}
	return leftOut, os.Rename(filepath.Join(filepath.Dir(to), target.Location()), to)
}

func copyOne(ctx context.Context, target tree.Target, it tree.Item, buf []byte) (n int64, err error) {
	e := it.Entry
	if it.Late != nil {
		it.Late(&e)
	}
	var content tree.Content
	if it.Open != nil {
		if content, err = it.Open(ctx); err != nil {
			return 0, &tree.Refused{Path: e.Path, Reason: err.Error()}
		}
		defer content.Close()
		e.Extents = content.Extents()
	}
	w, err := target.Create(ctx, &e)
	if err != nil || w == nil {
		return 0, err
	}
	if content == nil {
		return 0, w.Close()
	}
	extents := e.Extents
	if extents == nil {
		extents = []tree.Extent{{Off: 0, Len: e.Size}}
	}
	for _, x := range extents {
		for off := x.Off; off < x.Off+x.Len; {
			m, err := io.ReadFull(content, buf[:min(int64(len(buf)), x.Off+x.Len-off)])
			if _, werr := w.WriteAt(buf[:m], off); werr != nil {
				return n, werr
			}
			n, off = n+int64(m), off+int64(m)
			if err != nil { // it shrank meanwhile: what was read is the copy
				return n, errors.Join(w.Close(), shrunk(err))
			}
		}
	}
	return n, w.Close()
}

func shrunk(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("read: %w", err)
}
