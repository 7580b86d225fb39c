package repo

import (
	"context"
	"maps"
	"slices"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/pack"
	"strongroom/internal/repo/seal"
)

// The trash is where packs wait between the decision that nobody needs them and their deletion. It is an entry in the
// journal, not a place: the pack's object stays where it is, because object stores have no rename and a lock on an object
// binds its name. While the entry stands nobody can come to need the pack, as no operation sees it (pin.reads). A Prune
// that finds it needed all the same takes it out; one that comes after the grace period deletes it.

// KeepTrash as PruneOptions.Grace deletes nothing, for when the time is in doubt.
const KeepTrash = time.Duration(1<<63 - 1)

// trashed is a pack in the trash.
type trashed struct {
	id    seal.PackID
	class byte
	at    time.Time // since when, by the trusted clock
}

func (t trashed) name() string { return pack.Name(t.class, t.id) }

// throw puts packs into the trash, durably. at is the trusted time; a clock that was set back does not make the wait shorter.
func (j *journal) throw(ctx context.Context, packs []trashed, at time.Time) error {
	if len(packs) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.fresh(ctx); err != nil {
		return err
	}
	for _, t := range j.trash {
		if t.at.After(at) {
			at = t.at
		}
	}
	return j.append(ctx, journalEntry{kind: jTrash, at: at, packs: packs})
}

// takeOut takes packs out of the trash, durably: they are needed again, or gone.
func (j *journal) takeOut(ctx context.Context, packs []trashed, at time.Time) error {
	if len(packs) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(ctx, journalEntry{kind: jUntrash, at: at, packs: packs})
}

// inTrash returns what is in the trash, in the order of the ids.
func (j *journal) inTrash(ctx context.Context) ([]trashed, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.fresh(ctx); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(j.trash), func(a, b trashed) int { return slices.Compare(a.id[:], b.id[:]) }), nil
}

// hide takes from every operation's sight what the journal says is in the trash, and nothing else.
func (v *vault) hide(ctx context.Context) error {
	packs, err := v.journal.inTrash(ctx)
	if err != nil {
		return err
	}
	slots := make(map[uint32]bool, len(packs)) // before locking: the index asks us while it is locked
	for _, t := range packs {
		if slot, ok := v.index.Slot(t.id); ok {
			slots[slot] = true
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.trashed = slots
	return nil
}

// rescue takes out of the trash what a recovery point needs. That cannot happen by this program's own doing; it can when
// somebody put back a reference set, or when the trash is wrong.
func (p *pruning) rescue(ctx context.Context) error {
	packs, err := p.r.v.journal.inTrash(ctx)
	if err != nil {
		return err
	}
	packs = slices.DeleteFunc(packs, func(t trashed) bool {
		slot, ok := p.r.v.index.Slot(t.id)
		return !ok || p.live.bits(slot) == nil
	})
	if len(packs) == 0 {
		return nil
	}
	p.r.log.Warn("packs in the trash are needed: they are taken out", "packs", len(packs), "first", packs[0].name())
	p.report.RescuedPacks = len(packs)
	if p.o.DryRun {
		return nil
	}
	if err := p.r.v.journal.takeOut(ctx, packs, p.now); err != nil {
		return err
	}
	return p.r.v.hide(ctx)
}

// throw puts into the trash what nobody needs and no running operation can come to need: condemned packs, and packs that
// never got into the index.
func (p *pruning) throw(ctx context.Context) error {
	slots, deferred := p.r.v.sweep()
	p.report.DeferredPacks = deferred
	packs, err := p.orphans(ctx)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		i := p.r.v.index.Pack(slot)
		packs = append(packs, trashed{id: i.ID, class: i.Class})
	}
	return p.r.v.journal.throw(ctx, packs, p.now)
}

// due reports whether the grace period of something that happened at a time is over.
func (p *pruning) due(at time.Time) bool { return p.o.Grace <= 0 || p.now.Sub(at) >= p.o.Grace }

// purge deletes what has been in the trash for long enough. First the index forgets the packs, durably: it must never name
// one that is gone, or the next backup would refer to it. Then they go, and then the journal forgets them too. A crash on
// the way leaves them in the trash, and the next Prune goes on.
func (p *pruning) purge(ctx context.Context) error {
	all, err := p.r.v.journal.inTrash(ctx)
	if err != nil {
		return err
	}
	var due []trashed
	drop := map[uint32]bool{}
	sizes := map[seal.PackID]int64{}
	for _, t := range all {
		slot, indexed := p.r.v.index.Slot(t.id)
		if indexed {
			sizes[t.id] = p.r.v.index.Pack(slot).Size
		} else if i, err := p.r.store.Stat(ctx, t.name()); err == nil {
			sizes[t.id] = i.Size
		} else if !fault.Is(err, fault.NotFound) {
			return err
		}
		if !p.due(t.at) {
			p.report.TrashedPacks++
			p.report.TrashedBytes += sizes[t.id]
			continue
		}
		due = append(due, t)
		if indexed {
			if err := p.r.v.unneeded(slot, p.live); err != nil {
				return err
			}
			drop[slot] = true
		}
	}
	if len(drop) > 0 {
		if err := p.r.v.index.Drop(ctx, drop); err != nil {
			return err
		}
	}
	for _, t := range due {
		err := p.r.store.Delete(ctx, t.name())
		if fault.Is(err, fault.NotFound) {
			continue // a run that was cut off had come this far
		}
		if err != nil {
			return err
		}
		p.report.DeletedPacks++
		p.report.FreedBytes += sizes[t.id]
	}
	if err := p.r.v.journal.takeOut(ctx, due, p.now); err != nil {
		return err
	}
	return p.r.v.hide(ctx)
}

// orphans finds packs that are not in the index: a crash came before they could be published.
func (p *pruning) orphans(ctx context.Context) ([]trashed, error) {
	var found []trashed
	waiting, err := p.r.v.journal.inTrash(ctx)
	if err != nil {
		return nil, err
	}
	for _, prefix := range pack.Prefixes() {
		err := p.r.store.List(ctx, prefix, func(i blob.Info) error {
			class, id, ok := pack.ParseName(i.Name)
			_, there := slices.BinarySearchFunc(waiting, id, func(t trashed, id seal.PackID) int { return slices.Compare(t.id[:], id[:]) })
			if ok && !there && p.r.v.abandoned(id) {
				found = append(found, trashed{id: id, class: class})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	// Whoever wrote them is gone, but may have got them into the index without knowing.
	if err := p.r.v.index.Refresh(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(t trashed) bool { return !p.r.v.abandoned(t.id) }), nil
}

// Unforget brings back a recovery point that was forgotten, as long as no Prune has deleted what it needs: with a grace period that is at least so long.
// fault.NotFound: there is no such recovery point any more. fault.State: it was not forgotten. fault.Corrupt: what it needs
// is not all there. fault.Unavailable: the repository is being pruned. When it returns nil, the recovery point is there, durably.
func (r *Repository) Unforget(ctx context.Context, id string) error {
	if !r.v.prune.TryLock() {
		return fault.New(fault.Unavailable, "the repository is being pruned: try again later")
	}
	defer r.v.prune.Unlock()
	rec, err := r.record(ctx, id)
	if err != nil {
		return err
	}
	p, known, err := r.v.journal.state(ctx, id)
	if err == nil && known && !p.forgotten {
		err = fault.New(fault.State, "recovery point %s was not forgotten", id).WithResource(id)
	}
	if err != nil {
		return err
	}
	refs, _, err := r.v.loadRefs(ctx, rec)
	if err != nil {
		return err
	}
	all, err := r.v.journal.inTrash(ctx)
	if err != nil {
		return err
	}
	packs := slices.DeleteFunc(all, func(t trashed) bool {
		slot, ok := r.v.index.Slot(t.id)
		return !ok || refs.bits(slot) == nil
	})
	// First the packs: a recovery point whose packs are in the trash would not be safe for a moment.
	r.v.pardon(refs)
	if err := r.v.journal.takeOut(ctx, packs, r.clock.Now()); err != nil {
		return err
	}
	if err := r.v.hide(ctx); err != nil {
		return err
	}
	r.v.journal.mu.Lock()
	defer r.v.journal.mu.Unlock()
	return r.v.journal.append(ctx, journalEntry{kind: jRecall, id: id, at: r.clock.Now()})
}
