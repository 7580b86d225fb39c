package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"strongroom/internal/arn"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/resource"
	"strongroom/internal/resource/files"
)

// HubConfig is what a Hub needs; both have defaults.
type HubConfig struct {
	Clock clock.Clock  // nil: the system's
	Log   *slog.Logger // nil: silence
}

// Hub is the registry of the agent files of one node. Safe for concurrent use.
type Hub struct {
	clock clock.Clock
	log   *slog.Logger

	mu    sync.RWMutex // guards files; what is in them never changes
	files []File
}

// NewHub returns an empty registry.
func NewHub(c HubConfig) *Hub {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Hub{clock: c.Clock, log: c.Log}
}

// Add registers a parsed file. Its errors are fault.Invalid for the administrator who wrote the file: a restore root that
// is missing, an id or a place that another file has.
func (h *Hub) Add(f File) error {
	if err := f.check(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.files {
		if err := compatible(&h.files[i], &f); err != nil {
			return err
		}
	}
	h.files = append(h.files, f)
	return nil
}

// compatible checks what holds between any two files.
func compatible(a, b *File) error {
	clash := func(line int, format string, args ...any) error {
		return fault.New(fault.Invalid, "%s:%d: "+format, append([]any{b.Name, line}, args...)...)
	}
	if a.ID() == b.ID() {
		return fault.New(fault.Invalid, "%s: account %s has another agent file of this name in region %s: %s", b.Name, b.Account, b.Region, a.Name)
	}
	for _, rb := range b.Resources {
		for _, ra := range a.Resources {
			if ra.ID == rb.ID && a.Account == b.Account && a.Region == b.Region {
				return clash(rb.line, "resource id %s is declared in %s already", rb.ID, a.Name)
			}
		}
		if a.Restore != nil && overlap(real(rb.Path), real(a.Restore.Root)) {
			return clash(rb.line, "resource path %s and the restore root of %s contain one another", rb.Path, a.Name)
		}
	}
	if b.Restore == nil {
		return nil
	}
	if a.Restore != nil && overlap(real(a.Restore.Root), real(b.Restore.Root)) {
		return clash(b.Restore.line, "restore root %s and that of %s contain one another", b.Restore.Root, a.Name)
	}
	for _, ra := range a.Resources {
		if overlap(real(ra.Path), real(b.Restore.Root)) {
			return clash(b.Restore.line, "restore root %s and a resource path of %s contain one another", b.Restore.Root, a.Name)
		}
	}
	return nil
}

// Resources lists what an account may protect in a region: what its agent files declare, and the file systems that
// restores have made below its restore roots. In the order of their ARNs.
func (h *Hub) Resources(account, region string) []Declared {
	var out []Declared
	for _, d := range h.All() {
		if d.Account == account && d.Region == region {
			out = append(out, d)
		}
	}
	return out
}

// All lists the resources of all accounts and regions, in the order of their ARNs.
func (h *Hub) All() []Declared {
	var out []Declared
	for _, f := range h.Files() {
		out = append(out, f.Declared()...)
	}
	slices.SortFunc(out, func(a, b Declared) int { return strings.Compare(a.ARN, b.ARN) })
	return out
}

// Files lists the registered files in the order in which they were added.
func (h *Hub) Files() []File {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.files)
}

// find returns the provider of a file system, declared or restored. nil: the account has none of that id there.
func (h *Hub) find(account, region, id string) (*File, *files.Provider) {
	if !fileSystemID.MatchString(id) {
		return nil, nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	var mine []*File
	for i := range h.files {
		if f := &h.files[i]; f.Account == account && f.Region == region {
			mine = append(mine, f)
		}
	}
	for _, f := range mine {
		if r := f.resource(id); r != nil {
			o := f.options()
			o.CrossMounts, o.Blocks = r.CrossMounts, r.Blocks
			return f, files.New(files.Config{Root: r.Path, Options: o})
		}
	}
	for _, f := range mine {
		if slices.Contains(f.restored(), id) {
			return f, files.New(files.Config{Root: f.Restore.Root, Dir: id, Options: f.options()})
		}
	}
	return nil, nil
}

// Source opens a declared resource of the account for reading; close it after use. fault.NotFound: there is no such
// resource, or its directory is gone.
func (h *Hub) Source(ctx context.Context, account, resourceARN string) (resource.Source, error) {
	region, id, err := parseARN(account, resourceARN)
	if err != nil {
		return nil, err
	}
	_, p := h.find(account, region, id)
	if p == nil {
		return nil, fault.New(fault.NotFound, "no agent declares the resource %s", resourceARN).WithResource(resourceARN)
	}
	s, err := p.Source(ctx)
	if f := fault.As(err); f != nil {
		return nil, f.WithResource(resourceARN)
	}
	return s, err
}

// parseARN takes a file system's ARN apart and makes sure that it belongs to the account.
func parseARN(account, text string) (region, id string, err error) {
	a, perr := arn.Parse(text)
	name, ok := strings.CutPrefix(a.Resource, "file-system/")
	switch {
	case perr != nil:
		return "", "", fault.New(fault.Invalid, "%q is not an ARN", text)
	case a.Service != "elasticfilesystem" || !ok:
		return "", "", fault.New(fault.Unsupported, "resources of the service %s are not supported", a.Service).WithResource(text)
	case a.Account != account || !fileSystemID.MatchString(name):
		return "", "", fault.New(fault.NotFound, "no agent declares the resource %s", text).WithResource(text)
	}
	return a.Region, name, nil
}

// Sweep removes the partial directories that interrupted restores have left below the restore roots. A node runs it once
// after its start; a restore that is tried again does not depend on it. Directories of declared resources are not swept:
// there, only a further attempt of the same restore removes what an earlier one left.
func (h *Hub) Sweep(ctx context.Context) error {
	var errs []error
	for _, f := range h.Files() {
		for _, id := range f.restored() {
			removed, err := files.New(files.Config{Root: f.Restore.Root, Dir: id}).Sweep(ctx)
			for _, name := range removed {
				h.log.Info("an interrupted restore is removed", "resource", fileSystemARN(f.Account, f.Region, id), "name", name)
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
