package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
)

// reserveFile takes up space that is given back when the disk is full and something must be written that frees space.
const reserveFile = ".reserve"

// space is what the store knows about its reserve.
type space struct {
	mu   sync.Mutex
	kept int64 // size of the reserve file as far as known
}

var _ blob.Reserver = (*Store)(nil)

// Reserve implements blob.Reserver.
func (s *Store) Reserve(_ context.Context, n int64) error {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	path := filepath.Join(s.dir, reserveFile)
	if n <= 0 {
		s.space.kept = 0
		if err := s.fs.Unlink(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if s.space.kept >= n {
		return nil
	}
	if info, err := s.fs.Lstat(path); err == nil && info.Size() >= n {
		s.space.kept = info.Size()
		return nil
	}
	f, err := s.fs.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return s.explain(err)
	}
	defer f.Close()
	if err := f.Reserve(n); err != nil {
		return s.explain(err)
	}
	s.space.kept = n
	return nil
}

// explain says what to do about a full disk; other errors stay as they are.
func (s *Store) explain(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.New(fault.Limit, "the disk of %s is full: free space on it, or forget recovery points and prune", s.dir).WithResource(s.dir).WithCause(err)
	}
	return err
}
