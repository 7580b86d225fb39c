package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

func migrate(ctx context.Context, d *DB, service string, fsys fs.FS) error {
	if info, err := fs.Stat(fsys, "migrations"); err == nil && info.IsDir() { // an embed.FS keeps the directory's name
		if fsys, err = fs.Sub(fsys, "migrations"); err != nil {
			return fmt.Errorf("migrate %s: %w", service, err)
		}
	}
	dialect := database.DialectSQLite3
	if d.postgres {
		dialect = database.DialectPostgres
		fsys = postgresFS{fsys}
	}
	store, err := database.NewStore(dialect, "migrations_"+service)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", service, err)
	}
	p, err := goose.NewProvider("", d.write, fsys, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", service, err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", service, err)
	}
	if have > want {
		return fmt.Errorf("the catalog's %s tables have version %d, this program knows up to %d: it was written by a newer strongroom; run that one", service, have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", service, err)
	}
	return nil
}

var blobType = regexp.MustCompile(`\bBLOB\b`)

// postgresFS rewrites the one column type that has another name there.
type postgresFS struct{ fs.FS }

func (f postgresFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return file, err
	}
	data, err := io.ReadAll(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &rewritten{File: file, Reader: strings.NewReader(blobType.ReplaceAllString(string(data), "BYTEA"))}, nil
}

type rewritten struct {
	fs.File
	*strings.Reader
}

func (r *rewritten) Read(p []byte) (int, error) { return r.Reader.Read(p) }

// createPrivate makes the SQLite file with mode 0600 before SQLite would make it with the umask's.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create catalog: %w", err)
	}
	return f.Close()
}
