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
// It needs the root key, and the repository must not be open. Packs whose directory cannot be read are findings: they are
// left as they are and out of the index. The old index is superseded, not touched; Prune removes it.
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
				return nil
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
	ids := make([]seal.Short, info.Frames)
	for n := range info.Frames {
		ids[n] = d.Frame(n).CID.Short()
	}
	return info, ids, nil
}
