// Package wrap puts behaviour around a blob.Store: here, faults for tests.
//
// A Faulty counts the operations that reach it and fails the one it is told to. Because objects are created whole, three
// outcomes cover what storage can do to a writer: the operation failed and did nothing, it took effect and yet reported
// failure (a lost answer), or from then on nothing works any more (the process died, the disk is gone).
package wrap

import (
	"context"
	"errors"
	"sync"

	"strongroom/internal/blob"
)

// ErrInjected is in the chain of every injected failure.
var ErrInjected = errors.New("injected fault")

// Plan says which operation fails and how.
type Plan struct {
	At      int  // the operation that fails, counted from 1; 0 = none
	Persist bool // it takes effect all the same, if it changes the store
	Sticky  bool // every later operation fails too, without effect
}

// Faulty is a store that fails as planned. Safe for concurrent use.
type Faulty struct {
	blob.Store

	mu   sync.Mutex
	plan Plan
	n    int
	hits int
}

// New wraps s; it fails nothing before SetPlan.
func New(s blob.Store) *Faulty { return &Faulty{Store: s} }

// SetPlan replaces the plan and starts counting anew.
func (f *Faulty) SetPlan(p Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.n, f.hits = p, 0, 0
}

// Count returns how many operations there were since SetPlan, and how many failed.
func (f *Faulty) Count() (ops, failed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n, f.hits
}

// step counts one operation and decides about it.
func (f *Faulty) step() (fail, persist bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	switch {
	case f.plan.At == 0 || f.n < f.plan.At:
		return false, false
	case f.n == f.plan.At:
		f.hits++
		return true, f.plan.Persist
	case f.plan.Sticky:
		f.hits++
		return true, false
	}
	return false, false
}

// do runs an operation that changes the store.
func (f *Faulty) do(op func() error) error {
	fail, persist := f.step()
	if !fail {
		return op()
	}
	if persist {
		return errors.Join(ErrInjected, op())
	}
	return ErrInjected
}

// look runs an operation that only reads.
func (f *Faulty) look(op func() error) error {
	if fail, _ := f.step(); fail {
		return ErrInjected
	}
	return op()
}

// Put implements blob.Store.
func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	return f.do(func() error { return f.Store.Put(ctx, name, data) })
}

// ReadAt implements blob.Store.
func (f *Faulty) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	return f.look(func() error { return f.Store.ReadAt(ctx, name, p, off) })
}

// Stat implements blob.Store.
func (f *Faulty) Stat(ctx context.Context, name string) (info blob.Info, err error) {
	err = f.look(func() error { info, err = f.Store.Stat(ctx, name); return err })
	return info, err
}

// List implements blob.Store.
func (f *Faulty) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	return f.look(func() error { return f.Store.List(ctx, prefix, fn) })
}

// Delete implements blob.Store.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	return f.do(func() error { return f.Store.Delete(ctx, name) })
}

// Create implements blob.Store.
func (f *Faulty) Create(ctx context.Context, name string) (w blob.Writer, err error) {
	err = f.look(func() error { w, err = f.Store.Create(ctx, name); return err })
	if err != nil {
		return nil, err
	}
	return &faultyWriter{f: f, Writer: w}, nil
}

type faultyWriter struct {
	f *Faulty
	blob.Writer
	bad bool
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if fail, _ := w.f.step(); fail || w.bad {
		w.bad = true
		return 0, ErrInjected
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) Commit(ctx context.Context) error {
	if w.bad {
		return ErrInjected
	}
	return w.f.do(func() error { return w.Writer.Commit(ctx) })
}
