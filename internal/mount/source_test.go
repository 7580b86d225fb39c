package mount

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"strongroom/internal/tree"
)

// file is an entry with its content.
type file struct {
	tree.Entry
	Data   []byte
	Broken bool // it cannot be opened
}

// made is a tree in memory below a root, as a source.
type made []file

func (m made) Walk(_ context.Context, emit func(tree.Item) error) error {
	all := slices.Clone(m)
	all = append(all, file{Entry: tree.Entry{Type: tree.Dir, Mode: 0o755, Nlink: 1}})
	slices.SortFunc(all, func(a, b file) int { return tree.Compare(a.Path, b.Path) })
	for _, f := range all {
		it := tree.Item{Entry: f.Entry}
		if f.Type == tree.File && f.Hardlink == "" {
			it.Entry.Size = int64(len(f.Data))
			it.Open = func(context.Context) (tree.Content, error) {
				if f.Broken {
					return nil, errors.New("it cannot be opened")
				}
				return &content{bytes.NewReader(f.Data), it.Entry}, nil
			}
		}
		if err := emit(it); err != nil {
			return err
		}
	}
	return nil
}

type content struct {
	io.Reader
	e tree.Entry
}

func (c *content) Close() error                { return nil }
func (c *content) Extents() []tree.Extent      { return nil }
func (c *content) Check() (tree.Entry, string) { return c.e, "" }
