package server

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	"golang.org/x/sys/unix"

	"strongroom/test/bar"
)

// canary is a secret that must not be found where it is not sealed.
const canarySize = 32

// watch finds canaries, whole or in pieces of eight bytes, as they are and in hexadecimal.
type watch struct {
	pieces map[uint64]string // first piece of what was planted: what it is
}

func (w *watch) plant(what, canary string) string {
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary)))} {
		for i := 0; i+8 <= len(form); i += 8 {
			w.pieces[binary.LittleEndian.Uint64([]byte(form[i:]))] = what
		}
	}
	return canary
}

// hits counts what is found in data, by what it is.
func (w *watch) hits(data []byte, found map[string]int) {
	for i := 0; i+8 <= len(data); i++ {
		if what, ok := w.pieces[binary.LittleEndian.Uint64(data[i:])]; ok {
			found[what]++
		}
	}
}

// below counts what is found in the files below a directory, their names and link targets included.
func (w *watch) below(t *testing.T, dir string, found map[string]int) (bytesRead int64) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		w.hits([]byte(path), found)
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		bytesRead += int64(len(data))
		w.hits(data, found)
		return err
	}))
	return bytesRead
}

// lines is a log that is kept.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// B29, the engine's part: what files hold, are called, link to and carry as attributes is found nowhere in the vaults' directories
// of source and copy, the catalog with its write-ahead log, the log, and the directories for temporary files, neither after a
// backup nor after a copy.
//
// Left out, because the catalog and its API are there to show it: ARNs of resources and the tags of recovery points, which must
// not be in the vaults' directories all the same; and the paths of objects that were not read faithfully, which job messages name.
func TestB29NothingOfWhatIsBackedUpIsReadable(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	n := bar.Size(100, 1000)
	seed := rand.Uint64()
	if s := os.Getenv("STRONGROOM_SEED"); s != "" {
		_, err := fmt.Sscan(s, &seed)
		check(t, err)
	}
	t.Logf("STRONGROOM_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 29))
	w := &watch{pieces: map[uint64]string{}}
	tagged := &watch{pieces: map[uint64]string{}}
	fresh := func() string {
		const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
		b := make([]byte, canarySize)
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return string(b)
	}
	log := &lines{}
	s := newSceneLogged(t, nil, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	planted, xattrs := 0, true
	for planted < n {
		path := filepath.Join(s.files, w.plant("directory name", fresh()))
		check(t, os.Mkdir(path, 0o755))
		file := filepath.Join(path, w.plant("file name", fresh()))
		check(t, os.WriteFile(file, []byte(w.plant("small content", fresh())), 0o600))
		check(t, os.Symlink(w.plant("link target", fresh()), filepath.Join(path, "link")))
		large := []byte(strings.Repeat(w.plant("compressible content", fresh()), 40_000/canarySize))
		if planted%50 == 0 {
			large = bytes.Repeat(large, 30)
		}
		check(t, os.WriteFile(filepath.Join(path, "large"), append(large, w.plant("end of content", fresh())...), 0o600))
		planted += 6
		if err := unix.Setxattr(file, "user."+w.plant("attribute name", fresh()), []byte(w.plant("attribute value", fresh())), 0); err == nil {
			planted += 2
		} else {
			xattrs = false
		}
	}
	tags := map[string]string{}
	for range 10 {
		tags[tagged.plant("tag key", fresh())] = tagged.plant("tag value", fresh())
	}
	tagged.plant("resource", prodFiles[strings.LastIndex(prodFiles, "/")+1:])
	control := map[string]int{}
	w.below(t, s.files, control)
	if len(control) < 5 {
		t.Fatalf("the search finds nothing where everything is: %v", control)
	}
	s.point = s.backupWith(&awsbackup.StartBackupJobInput{RecoveryPointTags: tags})
	if c := s.copy(nil); c.State != backuptypes.CopyJobStateCompleted {
		t.Fatalf("%s: %s", c.State, aws.ToString(c.StatusMessage))
	}
	found, inVaults := map[string]int{}, map[string]int{}
	read := w.below(t, s.data.path, found) // catalog.db, -wal and -shm as they are while the node runs
	check(t, s.stop())
	read += w.below(t, s.data.path, found)
	read += w.below(t, tmp, found)
	w.hits(log.b.Bytes(), found)
	tagged.below(t, filepath.Join(s.data.path, "regions"), inVaults)
	if log.b.Len() == 0 {
		t.Error("nothing was logged: the search proves nothing about the log")
	}
	if len(found) > 0 || len(inVaults) > 0 {
		t.Errorf("readable: %v; in the vaults: %v", found, inVaults)
	}
	bar.Report(t, "B29", "%d secrets in contents, names, link targets and attributes (attributes: %t), 21 in tags and resource: 0 found in %d MiB of vaults, catalog, temporary files and %d KiB of log, seed %d",
		planted, xattrs, read>>20, log.b.Len()>>10, seed)
}
