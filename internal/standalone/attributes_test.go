package standalone

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Attributes of files that have not changed are taken over from the base without a look at the file; what is set later, by
// any of a file's names, is noticed all the same.
func TestAttributesFollowTheirFilesThroughUnchangedBackups(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "home")
	name, link := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, name, "some content")
	write(t, filepath.Join(dir, "plain"), "more")
	check(t, os.Link(name, link))
	set := func(path, value string) {
		if err := unix.Setxattr(path, "user.color", []byte(value), 0); err == unix.ENOTSUP {
			t.Skip("no extended attributes here")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	v := open(t, newVault(t, phrase), phrase, true)
	restored := func(id string) (colors [2]string) {
		to := filepath.Join(t.TempDir(), "restored")
		must(v.Restore(t.Context(), RestoreOptions{ID: id, To: to}))
		for i, n := range []string{"a", "b"} {
			buf := make([]byte, 64)
			k, err := unix.Getxattr(filepath.Join(to, "home", n), "user.color", buf)
			check(t, err)
			colors[i] = string(buf[:k])
		}
		return colors
	}
	for _, color := range []string{"red", "green"} {
		set(link, color)
		for range 2 { // read, then taken over
			r := must(v.Backup(t.Context(), BackupOptions{Paths: []string{dir}}))
			if got := restored(r.ID); got != [2]string{color, color} {
				t.Errorf("%s: restored with %q, %d files unchanged", color, got, r.UnchangedFiles)
			}
		}
	}
	r := must(v.Backup(t.Context(), BackupOptions{Paths: []string{dir}}))
	if r.UnchangedFiles != 2 || r.ReadBytes != 0 {
		t.Errorf("%d files unchanged, %d bytes read", r.UnchangedFiles, r.ReadBytes)
	}
}
