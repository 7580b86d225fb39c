package repo

import (
	"context"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// Reindex writes the index of a repository anew from the directories of its packs, for when the index is lost or damaged.
// It needs the root key, and the repository must not be open. Packs whose directory cannot be read are findings: what their
// groups still say gets into the index (a pack of which nothing is known stays out of it), and they are left as they are. The
// old index is superseded, not touched; Prune removes it.
func Reindex(ctx context.Context, c Config) (CheckReport, error) {
	var report CheckReport
	vault, err := seal.ParseVaultID(c.Vault)
	if err != nil {
		return report, err
	}
	root, err := seal.NewRoot(c.Root, vault)
	if err != nil {
		return report, err
	}
	maint, err := seal.NewMaint(c.Maint, vault)
	if err != nil {
		return report, err
	}
	if _, err := authenticate(ctx, &c, vault, root, maint); err != nil {
		return report, err
	}
	if x, ok := c.Store.(blob.Exclusive); ok {
		release, err := x.Acquire(ctx)
		if err != nil {
			return report, err
		}
		defer release()
	}
	rebuild, err := index.NewRebuilder(ctx, c.Store, maint)
	if err != nil {
		return report, err
	}
	for _, prefix := range pack.Prefixes() {
		err := c.Store.List(ctx, prefix, func(o blob.Info) error {
			info, ids, err := readPack(ctx, c.Store, root, maint, o.Name)
			if fault.Is(err, fault.Corrupt) {
				report.FindingCount++
				if len(report.Findings) < MaxProblems {
					report.Findings = append(report.Findings, Finding{Object: o.Name, Reason: err.Error()})
				}
				info, ids, err = salvagePack(ctx, c.Store, root, maint, o.Name)
				if unreadable(err) || err == nil && info.Frames == 0 {
					return nil
				}
			}
			if err != nil {
				return err
			}
			report.Packs++
			report.Chunks += int64(len(ids))
			report.Bytes += info.Size
			return rebuild.Add(ctx, info, ids)
		})
		if err != nil {
			return report, err
		}
	}
	return report, rebuild.Finish(ctx)
}

// readPack reads what the index needs to know of a pack from the pack itself.
func readPack(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, name string) (pack.Info, []seal.Short, error) {
	class, id, ok := pack.ParseName(name)
	if !ok {
		return pack.Info{}, nil, corrupt(name, "no pack has this name")
	}
	info, _, err := pack.Stat(ctx, store, maint, class, id)
	if err != nil {
		return info, nil, err
	}
	d, err := pack.ReadDir(ctx, store, root, maint, info)
	if err != nil {
		return info, nil, err
	}
	return info, idsOf(d), nil
}

// idsOf returns the ids of the frames of a pack; zero where nothing is known.
func idsOf(d *pack.Dir) []seal.Short {
	ids := make([]seal.Short, d.Frames)
	for n := range d.Frames {
		if d.Has(n) {
			ids[n] = d.Frame(n).CID.Short()
		}
	}
	return ids
}

// salvagePack is readPack for a damaged pack. How many frames it had says its end, or else the reference sets that name it: they
// could not be read with an index that says otherwise.
func salvagePack(ctx context.Context, store blob.Store, root *seal.Root, maint *seal.Maint, name string) (pack.Info, []seal.Short, error) {
	class, id, ok := pack.ParseName(name)
	if !ok {
		return pack.Info{}, nil, corrupt(name, "no pack has this name")
	}
	info, _, err := pack.Stat(ctx, store, maint, class, id)
	if err == nil {
		d, err := pack.OpenDir(ctx, store, root, maint, info)
		if err != nil {
			return info, nil, err
		}
		return info, idsOf(d), nil
	}
	if !unreadable(err) {
		return info, nil, err
	}
	d, err := pack.Salvage(ctx, store, root, maint, class, id)
	if err != nil {
		return info, nil, err
	}
	info = d.Info
	ids := idsOf(d)
	frames, err := framesNamed(ctx, store, maint, id)
	if err != nil {
		return info, nil, err
	}
	if info.Frames < frames {
		info.Frames = frames
	}
	return info, ids, nil
}

// framesNamed returns how many frames a pack has according to the reference sets; 0 when none names it.
func framesNamed(ctx context.Context, store blob.Store, maint *seal.Maint, id seal.PackID) (frames uint32, err error) {
	err = store.List(ctx, refsPrefix, func(i blob.Info) error {
		k, ok := parseRefsName(i.Name)
		if !ok || frames > 0 {
			return nil
		}
		data, err := blob.Get(ctx, store, i.Name, maxSmall)
		if err != nil {
			return err
		}
		o, err := decodeRefs(k, data, maint)
		if err == nil {
			err = o.each(func(p packRefs) error {
				if p.pack == id {
					frames = p.frames
				}
				return nil
			})
		}
		if unreadable(err) {
			return nil // it names nothing that could be read with it
		}
		return err
	})
	return frames, err
}
