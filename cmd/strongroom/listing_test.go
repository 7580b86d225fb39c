package main

import "os/exec"

// listing describes a tree in every respect that a restore must reproduce: types, modes, owners, sizes, links, times to the
// nanosecond and every byte. It is made by GNU find and sha256sum, not by code of this project.
func listing(dir string) (string, error) {
	const script = `find . -mindepth 1 ! -type d -printf '%y %m %U %G %s %n %T@ %l %p\0' | LC_ALL=C sort -z | tr '\0' '\n'
find . -mindepth 1 -type d -printf '%y %m %U %G %T@ %p\0' | LC_ALL=C sort -z | tr '\0' '\n'
find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum`
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = dir
	out, err := cmd.Output()
	return string(out), err
}
