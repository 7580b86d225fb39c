package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// unclosable is a file system on which closing a file fails, as it does where writes are delayed until then.
type unclosable struct{ FS }

type unclosableFile struct{ File }

var errClose = errors.New("disk quota exceeded")

func (u unclosable) Open(path string, flags int, perm fs.FileMode) (File, error) {
	f, err := u.FS.Open(path, flags, perm)
	if err != nil {
		return nil, err
	}
	return unclosableFile{f}, nil
}

func (f unclosableFile) Close() error { return errors.Join(f.File.Close(), errClose) }

func TestAFileThatCannotBeClosedIsNotPublished(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := (Volume{unclosable{System{}}}).WriteFile(path, []byte("x"), 0o600); !errors.Is(err, errClose) {
		t.Errorf("the failure is not told: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file was published: %v", err)
	}
}
