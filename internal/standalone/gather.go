package standalone

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strongroom/internal/fault"
	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
	"strongroom/internal/tree"
)

// gathered is several directories as one tree: the root is made up, and each directory stands below it under its own name.
// One directory is no special case, so that paths in a recovery point do not depend on how many there were.
type gathered struct {
	root tree.Entry
	tops []top // in the order of their names
}

type top struct {
	name string
	resource.Source
}

// rootName stands for the directory "/", which has no name.
const rootName = "root"

// resolve makes the paths absolute and sorts them. Each must be a directory that does not overlap the vault, and no two may
// have one name.
func resolve(vault string, paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, fault.New(fault.Missing, "there is nothing to back up: name a directory")
	}
	real, err := filepath.EvalSymlinks(vault)
	if err != nil {
		return nil, err
	}
	var out []string
	names := map[string]string{}
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(abs)
		if os.IsNotExist(err) {
			return nil, fault.New(fault.NotFound, "%s does not exist", p)
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fault.New(fault.Invalid, "%s is not a directory: back up the directory that it is in", p)
		}
		target, err := filepath.EvalSymlinks(abs)
		if err != nil {
			return nil, err
		}
		if within(real, target) || within(target, real) {
			return nil, fault.New(fault.Invalid, "%s and the vault %s overlap: a vault cannot hold itself", p, vault)
		}
		if other, ok := names[nameOf(abs)]; ok && other != abs {
			return nil, fault.New(fault.Invalid, "%s and %s have the same name %q: back them up one by one", other, abs, nameOf(abs))
		} else if ok {
			continue
		}
		names[nameOf(abs)] = abs
		out = append(out, abs)
	}
	slices.Sort(out)
	return out, nil
}

func nameOf(abs string) string {
	if abs == "/" {
		return rootName
	}
	return filepath.Base(abs)
}

// within reports whether path is dir or below it. Both are absolute and clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// gather opens the directories.
func gather(ctx context.Context, paths []string, o files.Options) (g *gathered, err error) {
	g = &gathered{root: tree.Entry{Type: tree.Dir, Mode: 0o700, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Nlink: 1}}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		g.root.Mtime = max(g.root.Mtime, info.ModTime().UnixNano())
		src, err := files.New(files.Config{Root: p, Options: o}).Source(ctx)
		if err != nil {
			return nil, err
		}
		g.tops = append(g.tops, top{nameOf(p), src})
	}
	slices.SortFunc(g.tops, func(a, b top) int { return strings.Compare(a.name, b.name) })
	return g, nil
}

// Close closes the directories.
func (g *gathered) Close() error {
	var errs []error
	for _, t := range g.tops {
		errs = append(errs, t.Source.Close())
	}
	return errors.Join(errs...)
}

// Walk implements tree.Source.
func (g *gathered) Walk(ctx context.Context, emit func(tree.Item) error) error {
	if err := emit(tree.Item{Entry: g.root}); err != nil {
		return err
	}
	for _, t := range g.tops {
		err := t.Source.Walk(ctx, func(it tree.Item) error {
			e := &it.Entry // of what Content.Check says later, the engine keeps neither path nor link
			e.Path = below(t.name, e.Path)
			if e.Hardlink != "" {
				e.Hardlink = below(t.name, e.Hardlink)
			}
			return emit(it)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func below(name, path string) string {
	if path == "" {
		return name
	}
	return name + "/" + path
}
