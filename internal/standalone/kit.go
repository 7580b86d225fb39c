package standalone

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

// Kits returns the recovery kits of the vault in dir, whose texts can be printed. It needs no secret.
func Kits(ctx context.Context, dir string) (About, []recovery.Kit, error) {
	a, err := Look(ctx, dir)
	return a, recovery.Kits(a.Vault, a.Name, a.ARN, a.envelopes), err
}

// KitFile reads the kits in a file.
func KitFile(file string) ([]recovery.Kit, error) {
	raw, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	kits, err := recovery.ParseKits(raw)
	if err != nil {
		return nil, fault.New(fault.As(err).Kind, "%s: %s", file, fault.As(err).Msg)
	}
	return kits, nil
}

// Kits says what is known of the vault's kits.
func (v *Vault) Kits(ctx context.Context) ([]recovery.KitState, error) {
	envelopes, _, err := repo.IntactEnvelopes(ctx, v.store)
	return recovery.States(v.keys.Vault, v.keys.Maint, envelopes), err
}

// KitTest is the result of TestKit.
type KitTest struct {
	Vault string            `json:"vault"`
	Kit   recovery.KitState `json:"recovery_kit"`
	Point string            `json:"recovery_point"` // that something was restored from
	Path  string            `json:"path"`
	Bytes int64             `json:"bytes"`
	// Unrecorded says why the vault does not know of the test: it is on a read-only medium, for example.
	Unrecorded string `json:"unrecorded,omitempty"`
}

// TestKit proves that a kit works by restoring something with it and nothing else, and records that in the vault. It restores a
// file of the smallest recovery point; in a vault that has none it makes one for the purpose, and forgets it.
func TestKit(ctx context.Context, c Config) (KitTest, error) {
	c.Write, c.Rescue = false, false
	v, err := Open(ctx, c)
	if err != nil {
		return KitTest{}, err
	}
	defer func() { v.Close() }()
	l, err := v.List(ctx)
	if err != nil {
		return KitTest{}, err
	}
	var id string
	if len(l.Points) > 0 {
		least := l.Points[0]
		for _, p := range l.Points {
			if p.Bytes < least.Bytes && p.Files > 0 || least.Files == 0 {
				least = p
			}
		}
		id = least.ID
	} else {
		v.Close()
		planted, err := c.plant(ctx, v.dir, v.keys)
		if err != nil {
			return KitTest{}, err
		}
		defer planted.forget(context.WithoutCancel(ctx))
		if v, err = Open(ctx, c); err != nil {
			return KitTest{}, err
		}
		id = planted.id
	}
	out := KitTest{Vault: v.ID(), Point: id}
	if out.Path, out.Bytes, err = v.try(ctx, id); err != nil {
		return out, err
	}
	v.Close() // a reader keeps the note away as well as any other writer
	out.Kit = recovery.KitState{Kind: v.used.Kind, Key: v.used.KeyID, Fingerprint: recovery.Fingerprint(v.used), TestedAt: c.Clock.Now().UTC().Truncate(time.Second)}
	note, err := recovery.MarkTested(v.keys, v.used, out.Kit.TestedAt)
	if err != nil {
		return out, err
	}
	store, err := disk.Open(v.dir)
	if err == nil {
		err = repo.AddEnvelope(ctx, store, note)
	}
	if err != nil {
		out.Unrecorded = err.Error()
	}
	return out, nil
}

// tryBytes is the size up to which a file is good for a test.
const tryBytes = 16 << 20

// try restores the first file of a recovery point that is not too large, or its directories.
func (v *Vault) try(ctx context.Context, id string) (path string, n int64, err error) {
	p, err := v.repo.Point(ctx, id)
	if err != nil {
		return "", 0, err
	}
	enough := fault.New(fault.State, "enough")
	err = p.Walk(ctx, "", func(e *tree.Entry) error {
		if e.Type == tree.File && e.Hardlink == "" && e.Problem == "" && e.Size > 0 && e.Size <= tryBytes {
			path, n = e.Path, e.Size
			return enough
		}
		return nil
	})
	if err != nil && err != error(enough) {
		return "", 0, err
	}
	dir, err := os.MkdirTemp("", "strongroom-kit-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	t, err := files.New(files.Config{Root: dir}).Target(ctx, resource.Request{ID: ident.UUID(), CreatedAt: v.clock.Now()})
	if err != nil {
		return "", 0, err
	}
	defer t.Close()
	if _, err := p.Restore(ctx, t, repo.RestoreOptions{Include: []string{path}}); err != nil {
		return "", 0, err
	}
	if path == "" {
		return path, n, nil
	}
	info, err := os.Stat(filepath.Join(dir, t.Location(), path))
	if err != nil {
		return "", 0, err
	}
	if info.Size() != n {
		return "", 0, fault.New(fault.Corrupt, "%.200q was restored with %d bytes instead of %d", path, info.Size(), n)
	}
	return path, n, nil
}

// planted is a recovery point that was made for a test.
type planted struct {
	c    Config
	dir  string
	keys recovery.Keys
	id   string
	// empty: there was nothing in the vault before. Otherwise it holds what was forgotten, and its trash is not ours to clear.
	empty bool
}

// plant makes a recovery point of one small file.
func (c Config) plant(ctx context.Context, dir string, keys recovery.Keys) (*planted, error) {
	c.Write = true
	v, err := c.open(ctx, dir, keys, repo.Envelope{})
	if err != nil {
		return nil, err
	}
	defer v.Close()
	before, err := v.Prune(ctx, PruneOptions{DryRun: true})
	if err != nil {
		return nil, err
	}
	s := &planted{c, dir, keys, "kit-test-" + ident.UUID(), before.Packs == 0}
	content := make([]byte, 1000)
	rand.Read(content)
	_, err = v.repo.Backup(ctx, kitSample{content, c.Clock}, repo.BackupOptions{ID: s.id, Meta: repo.Meta{Created: c.Clock.Now().UTC()}})
	return s, err
}

// forget removes what plant made. What cannot be removed is small and named as what it is.
func (s *planted) forget(ctx context.Context) error {
	c := s.c
	c.Write = true
	v, err := c.open(ctx, s.dir, s.keys, repo.Envelope{})
	if err != nil {
		return err
	}
	defer v.Close()
	if err := v.Forget(ctx, s.id); err != nil {
		return err
	}
	o := PruneOptions{Grace: repo.KeepTrash}
	if s.empty {
		o.Grace = 0
	}
	_, err = v.Prune(ctx, o)
	return err
}

// kitSample is a directory with one file.
type kitSample struct {
	content []byte
	clock   clock.Clock
}

const sampleName = "strongroom-recovery-kit-test"

// Walk implements tree.Source.
func (s kitSample) Walk(_ context.Context, emit func(tree.Item) error) error {
	now := s.clock.Now().UnixNano()
	if err := emit(tree.Item{Entry: tree.Entry{Type: tree.Dir, Mode: 0o700, Nlink: 1, Mtime: now, Ctime: now}}); err != nil {
		return err
	}
	e := tree.Entry{Path: sampleName, Type: tree.File, Mode: 0o600, Nlink: 1, Mtime: now, Ctime: now, Size: int64(len(s.content))}
	return emit(tree.Item{Entry: e, Open: func(context.Context) (tree.Content, error) {
		return &sampleContent{bytes.NewReader(s.content), e}, nil
	}})
}

type sampleContent struct {
	*bytes.Reader
	e tree.Entry
}

func (c *sampleContent) Close() error                { return nil }
func (c *sampleContent) Extents() []tree.Extent      { return nil }
func (c *sampleContent) Check() (tree.Entry, string) { return c.e, "" }
