// Package mem keeps blobs in memory, for tests and simulations.
//
// It is strict where disks are lenient: it keeps its own copy of what it is given, so that a buffer reused too early shows,
// and Clone gives the state that a machine would find after a crash at this moment. Start with New.
package mem

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// Store is a map of objects. Safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	objects map[string][]byte
	held    bool
}

// New returns an empty store.
func New() *Store { return &Store{objects: map[string][]byte{}} }

// Clone returns what survives a crash now: every committed object, no unfinished write and no claim.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{objects: maps.Clone(s.objects)}
}

// Bytes returns an object's content, nil if there is none. The caller does not change it.
func (s *Store) Bytes(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name]
}

// Damage replaces an object behind the engine's back; nil data removes it.
func (s *Store) Damage(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.objects, name)
		return
	}
	s.objects[name] = bytes.Clone(data)
}

// Names returns the names of all objects in order.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(blob.CheckName(name), ctx.Err()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; ok {
		return blob.Taken(name)
	}
	s.objects[name] = append([]byte{}, data...)
	return nil
}

// Create implements blob.Store.
func (s *Store) Create(_ context.Context, name string) (blob.Writer, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, err
	}
	return &writer{s: s, name: name}, nil
}

type writer struct {
	s    *Store
	name string
	buf  []byte
	done bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fs.ErrClosed
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

func (w *writer) Commit(ctx context.Context) error {
	if w.done {
		return fs.ErrClosed
	}
	w.done = true
	return w.s.Put(ctx, w.name, w.buf)
}

func (w *writer) Abort() { w.done = true }

// ReadAt implements blob.Store.
func (s *Store) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if err := errors.Join(blob.CheckName(name), ctx.Err()); err != nil {
		return err
	}
	s.mu.Lock()
	data, ok := s.objects[name]
	s.mu.Unlock()
	switch {
	case !ok:
		return blob.Missing(name)
	case off < 0 || off > int64(len(data)) || int64(len(data))-off < int64(len(p)):
		return blob.Short(name, int64(len(data)), off, len(p))
	}
	copy(p, data[off:])
	return nil
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, name string) (blob.Info, error) {
	if err := blob.CheckName(name); err != nil {
		return blob.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[name]
	if !ok {
		return blob.Info{}, blob.Missing(name)
	}
	return blob.Info{Name: name, Size: int64(len(data))}, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	for _, name := range s.Names() {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		info, err := s.Stat(ctx, name)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := errors.Join(blob.CheckName(name), ctx.Err()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; !ok {
		return blob.Missing(name)
	}
	delete(s.objects, name)
	return nil
}

// Acquire implements blob.Exclusive.
func (s *Store) Acquire(context.Context) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil, fault.New(fault.Unavailable, "the store is in use")
	}
	s.held = true
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = false
	}), nil
}
