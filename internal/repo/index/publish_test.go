package index

import (
	"context"
	"testing"

	"strongroom/internal/blob"
	"strongroom/internal/blob/mem"
)

// between runs something after an object has become durable and before its writer hears of it.
type between struct {
	blob.Store
	do func()
}

func (b *between) Create(ctx context.Context, name string) (blob.Writer, error) {
	w, err := b.Store.Create(ctx, name)
	return &betweenWriter{w, b}, err
}

type betweenWriter struct {
	blob.Writer
	b *between
}

func (w *betweenWriter) Commit(ctx context.Context) error {
	err := w.Writer.Commit(ctx)
	if do := w.b.do; do != nil {
		w.b.do = nil
		do()
	}
	return err
}

func TestARefreshAndAMergeDuringAPublishDoNotInstallItTwice(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := &between{Store: mem.New()}
	s, err := Load(ctx, store, key(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 0, mergeAt-1, 10)
	store.do = func() {
		if err := s.Refresh(ctx); err != nil {
			t.Error(err)
		}
		if err := s.Compact(ctx); err != nil {
			t.Error(err)
		}
	}
	fill(t, s, mergeAt-1, 1, 10)
	verify(t, s, mergeAt, 10, func(int) bool { return false })
	for range 3 {
		fill(t, s, mergeAt, 0, 10)
		if err := s.Compact(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Verify(ctx); err != nil {
		t.Fatal(err)
	}
}
