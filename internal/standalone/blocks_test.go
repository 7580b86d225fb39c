package standalone

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"strongroom/internal/fault"
)

// A page that changes in a volume costs one block where the volume was declared, and a chunk where it was not.
func TestDeclaredVolumesAreStoredInBlocks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "volumes")
	check(t, os.Mkdir(dir, 0o755))
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	cost := func(rules ...string) int64 {
		v := open(t, newVault(t, phrase), phrase, true)
		o := BackupOptions{Paths: []string{dir}, FixedBlocks: rules}
		check(t, os.WriteFile(filepath.Join(dir, "disk.img"), content, 0o600))
		must(v.Backup(t.Context(), o))
		content[1<<20]++
		check(t, os.WriteFile(filepath.Join(dir, "disk.img"), content, 0o600))
		return must(v.Backup(t.Context(), o)).NewBytes
	}
	if got := cost("*.img=8K"); got < 8<<10 || got > 64<<10 {
		t.Errorf("a changed page of a declared volume cost %d bytes", got)
	}
	if got := cost("*.raw", "/other/*.img"); got < 128<<10 {
		t.Errorf("a changed page of a file that was not declared cost %d bytes", got)
	}
	_, err := open(t, newVault(t, phrase), phrase, true).Backup(t.Context(), BackupOptions{Paths: []string{dir}, FixedBlocks: []string{"*.img=9K"}})
	wantKind(t, err, fault.Invalid, "from 4K to 1M")
}
