package compat

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packs lists the files of all packs of a vault.
func packs(t *testing.T, dir string) (names []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "packs/") {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// TestPacksWithoutFooterAndIndexAreReadByTheirGroups cuts every pack where its footer begins and takes the index away: the
// document says how what is left can still be read.
func TestPacksWithoutFooterAndIndexAreReadByTheirGroups(t *testing.T) {
	t.Parallel()
	if !hasPython() {
		t.Skip("no Python with the cryptography package (scripts/install-test-tools installs it)")
	}
	g := newest(t)
	check(t, os.RemoveAll(filepath.Join(g.dir, "index")))
	for _, name := range packs(t, g.dir) {
		data := must(os.ReadFile(name))
		check(t, os.Truncate(name, int64(binary.LittleEndian.Uint64(data[len(data)-112:]))))
	}
	to := filepath.Join(t.TempDir(), "out")
	var a answer
	if status := g.ask(t, &a, "extract", "rp", to, "--no-index"); status != 0 {
		t.Fatalf("%d: %+v", status, a)
	}
	if got := string(must(os.ReadFile(filepath.Join(to, "hello")))); got != "world" {
		t.Errorf("%q", got)
	}
}

// TestTheIndependentReaderSeesDamage flips one bit of each pack and each index segment.
func TestTheIndependentReaderSeesDamage(t *testing.T) {
	t.Parallel()
	if !hasPython() {
		t.Skip("no Python with the cryptography package (scripts/install-test-tools installs it)")
	}
	g := newest(t)
	segments := must(filepath.Glob(filepath.Join(g.dir, "index", "*")))
	for _, name := range append(packs(t, g.dir)[:1], segments[0]) {
		good := must(os.ReadFile(name))
		bad := append([]byte{}, good...)
		bad[len(bad)/2] ^= 4
		check(t, os.WriteFile(name, bad, 0o600))
		var a answer
		if status := g.ask(t, &a, "verify"); status != 1 || len(a.Findings) == 0 {
			t.Errorf("%s: %d, %v", filepath.Base(filepath.Dir(name)), status, a.Findings)
		}
		check(t, os.WriteFile(name, good, 0o600))
	}
}
