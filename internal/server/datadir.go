package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"strongroom/internal/durable"
	"strongroom/internal/ident"
)

// The data directory of a node:
//
//	strongroom.json   marker: what this directory is (dataDir.marker); written last when it is made
//	lock              held while a node runs
//	catalog.db        SQLite catalog, unless PostgreSQL is configured
//	keys/seal.key     opens the root key
//	credentials       root access key of the first account, AWS shared-credentials format
//	endpoint          URL, while the node accepts requests
//	regions/NAME/     vault bytes
const (
	markerFile  = "strongroom.json"
	lockFile    = "lock"
	catalogFile = "catalog.db"
	// dataFormat is the version of the directory as a whole; a higher one was written by a newer program.
	dataFormat = 1
)

// marker is the content of strongroom.json.
type marker struct {
	Strongroom int    `json:"strongroom"` // format of the directory
	Node       string `json:"node"`       // random id of the node
	Account    string `json:"account"`    // first account
}

// dataDir is an opened and locked data directory.
type dataDir struct {
	path   string
	marker marker
	fresh  bool // the marker has not been written yet: first start, or an earlier first start that did not finish
	lock   *os.File
}

// openDataDir opens or prepares a data directory and takes its lock. It changes nothing in a directory that is not a
// node's: that one is refused with what was found.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &dataDir{path: path}
	raw, err := os.ReadFile(d.join(markerFile))
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &d.marker); err != nil || d.marker.Strongroom == 0 || d.marker.Node == "" {
			return nil, fmt.Errorf("%s is damaged: it should say which node this directory belongs to; restore it from a copy (it is not rebuilt by guessing)", d.join(markerFile))
		}
		if d.marker.Strongroom > dataFormat {
			return nil, fmt.Errorf("%s has format %d, this program knows up to %d: it was written by a newer strongroom; run that one", path, d.marker.Strongroom, dataFormat)
		}
	case errors.Is(err, fs.ErrNotExist):
		if err := onlyOurs(path); err != nil {
			return nil, err
		}
		d.fresh = true
		d.marker = marker{Strongroom: dataFormat, Node: ident.UUID()}
	default:
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if d.lock, err = os.OpenFile(d.join(lockFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another strongroom process", path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// A process that was killed leaves its address behind, and whatever listens there now is not this node.
	if err := os.Remove(d.join(EndpointFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.lock.Close()
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

// onlyOurs refuses a directory without marker that holds anything an unfinished first start would not have left.
func onlyOurs(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), durable.TempPrefix) {
			continue // a file that was being written
		}
		switch e.Name() {
		case lockFile, catalogFile, catalogFile + "-journal", catalogFile + "-wal", catalogFile + "-shm", "keys", "credentials", "regions", "lost+found", "clock":
		default:
			return fmt.Errorf("%s is not empty and not a strongroom data directory (it has no %s but holds %q): give an empty directory", path, markerFile, e.Name())
		}
	}
	if _, err := os.Stat(filepath.Join(path, "regions")); err == nil {
		return fmt.Errorf("%s holds vaults but no %s: restore that file from a copy; nothing is changed", path, markerFile)
	}
	return nil
}

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

// seal makes the first start final: from now on the directory is a node's.
func (d *dataDir) seal(account string) error {
	d.marker.Account = account
	raw, err := json.MarshalIndent(d.marker, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(d.join(markerFile), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	d.fresh = false
	return nil
}

func (d *dataDir) close() error { return d.lock.Close() }
