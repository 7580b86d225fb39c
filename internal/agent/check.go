package agent

import (
	"os"
	"path/filepath"
)

// check looks at the host: the restore root must be there, and paths that are different as text must not be the same
// place by way of symbolic links. A resource's directory may be missing: its backups fail until it is back, and nothing
// else does.
func (f *File) check() error {
	var faults []lineFault
	r := f.Restore
	if r == nil {
		return nil
	}
	if st, err := os.Stat(r.Root); err != nil {
		faults = append(faults, lineFault{r.line, "restore root: " + err.Error()})
	} else if !st.IsDir() {
		faults = append(faults, lineFault{r.line, "restore root: " + r.Root + " is not a directory"})
	}
	for _, res := range f.Resources {
		if !overlap(res.Path, r.Root) && overlap(real(res.Path), real(r.Root)) {
			faults = append(faults, lineFault{res.line, "resource path: " + res.Path + " and the restore root " + r.Root + " contain one another through symbolic links"})
		}
	}
	return faultsError(f.Name, faults)
}

// real resolves the symbolic links of a path as far as it exists.
func real(path string) string {
	for rest := ""; ; {
		if p, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(p, rest)
		}
		dir := filepath.Dir(path)
		if dir == path {
			return filepath.Join(path, rest)
		}
		path, rest = dir, filepath.Join(filepath.Base(path), rest)
	}
}
