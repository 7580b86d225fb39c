package repo

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"strongroom/internal/blob"
	"strongroom/internal/fault"
	"strongroom/internal/repo/index"
	"strongroom/internal/repo/seal"
)

// Registry coordinates the open repositories of one process: all Repositories of one vault share its index, its journal
// and the knowledge of what is running. The zero value is not usable, see NewRegistry. Safe for concurrent use.
type Registry struct {
	mu     sync.Mutex
	vaults map[seal.VaultID]*vault

	// suspect says of which vaults the disk must not be trusted: opening one again does not mend it, only another process
	// on a file system that was mounted anew sees what is there.
	suspect map[seal.VaultID]error

	blocks sync.Pool // *[]byte of blockSize, for the operations of all vaults
	intake *intake   // memory for the messages of ingest sessions
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{vaults: map[seal.VaultID]*vault{}, suspect: map[seal.VaultID]error{}, intake: newIntake(IngestMemory)}
}

// vault is what the Repositories of one vault share. Everything in it needs the maintenance key only.
//
// Why freeing is safe (ENGINE.md §2.9 is the background). Each operation that reads or writes chunks holds a pin, which
// knows the epoch in which it began. Prune condemns packs that no recovery point needs and raises the epoch. From then on:
//
//   - A pin that began later does not see a condemned pack, so it can never come to need it.
//   - A pin that began before may have found a chunk there. Its commit takes the packs it needs out of the condemned set,
//     and a condemned pack is put into the trash only when every pin that began before has ended.
//   - No pin sees a pack in the trash, so that nobody can come to need it before it is deleted.
//   - A commit that Prune's look at the recovery points missed is noticed because ending pins leave the packs they needed
//     in touched while a Prune is under way.
//
// Nothing in this depends on a clock. Nothing survives a crash but the trash, which is in the journal: then no pin exists, and
// condemned packs are forgotten. Package prunemodel walks through all interleavings of this protocol.
type vault struct {
	id      seal.VaultID
	store   blob.Store
	maint   *seal.Maint
	index   *index.Set
	health  *health
	journal *journal
	prune   sync.Mutex // one Prune at a time
	dirs    packDirs

	open    int // Repositories; guarded by Registry.mu
	release func()
	loaded  chan struct{} // closed when index and journal are there, or err says why not
	err     error

	mu        sync.RWMutex
	epoch     uint64
	pins      map[*pin]struct{}
	condemned map[uint32]uint64    // pack → the epoch that it was condemned in
	trashed   map[uint32]bool      // in the trash: nobody sees them, whoever began when
	touched   map[uint32]bool      // non-nil while Prune looks around
	busy      map[string]bool      // ids of recovery points being written
	writing   map[seal.PackID]*pin // packs begun by running operations

	records recordCache
	refs    refsGuard
	rule    refsRule
}

// pin marks a running operation.
type pin struct {
	v     *vault
	start uint64
	needs *refSet     // set when it commits
	met   atomic.Bool // it came upon a chunk in quarantine
}

// acquire returns the shared state of a vault, which the first caller loads.
func (g *Registry) acquire(ctx context.Context, id seal.VaultID, store blob.Store, maint *seal.Maint, now func() time.Time) (*vault, error) {
	g.mu.Lock()
	v := g.vaults[id]
	first := v == nil
	if first {
		v = &vault{
			id: id, store: store, maint: maint, release: func() {}, loaded: make(chan struct{}),
			pins: map[*pin]struct{}{}, condemned: map[uint32]uint64{}, trashed: map[uint32]bool{},
			busy: map[string]bool{}, writing: map[seal.PackID]*pin{}, rule: usualRefs(),
			journal: &journal{store: store, maint: maint},
		}
		g.vaults[id] = v
		if x, ok := store.(blob.Suspicious); ok && g.suspect[id] != nil {
			x.Distrust(g.suspect[id])
		}
	}
	v.open++
	g.mu.Unlock()
	if first {
		v.err = v.load(ctx, now)
		close(v.loaded)
	}
	err := wait(ctx, v.loaded)
	if err == nil {
		err = v.err
	}
	if err != nil {
		g.drop(v)
		return nil, err
	}
	return v, nil
}

// load claims the store and reads what every Repository of the vault shares.
func (v *vault) load(ctx context.Context, now func() time.Time) error {
	if x, ok := v.store.(blob.Exclusive); ok {
		release, err := x.Acquire(ctx)
		if err != nil {
			return err
		}
		v.release = release
	}
	if err := v.journal.load(ctx); err != nil {
		return err
	}
	var err error
	if v.index, err = index.Load(ctx, v.store, v.maint, index.DefaultBudget); err != nil {
		return err
	}
	if err := v.hide(ctx); err != nil {
		return err
	}
	v.health, _, err = loadHealth(ctx, v.store, v.maint, v.index, now) // what is damaged there is for Check to say
	return err
}

func (g *Registry) drop(v *vault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-v.loaded:
		if v.err != nil && g.vaults[v.id] == v {
			delete(g.vaults, v.id) // the next one tries again
		}
	default: // somebody who did not want to wait
	}
	if v.open--; v.open > 0 {
		return
	}
	if g.vaults[v.id] == v {
		delete(g.vaults, v.id)
	}
	if x, ok := v.store.(blob.Suspicious); ok && x.Suspect() != nil {
		g.suspect[v.id] = x.Suspect()
	}
	v.release()
}

// begin registers a running operation.
func (v *vault) begin() *pin {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := &pin{v: v, start: v.epoch}
	v.pins[p] = struct{}{}
	return p
}

// end ends the operation. It may be called twice.
func (p *pin) end() {
	v := p.v
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pins, p)
	maps.DeleteFunc(v.writing, func(_ seal.PackID, w *pin) bool { return w == p })
	if v.touched != nil {
		for slot := range p.needs.all() {
			v.touched[slot] = true
		}
	}
}

// writes notes that an operation has begun a pack. The object is not there before the note is.
func (v *vault) writes(id seal.PackID, p *pin) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writing[id] = p
}

// abandoned reports whether no running operation has anything to do with a pack that is not in the index.
func (v *vault) abandoned(id seal.PackID) bool {
	v.mu.RLock()
	_, busy := v.writing[id]
	v.mu.RUnlock()
	if busy {
		return false
	}
	// In this order: an operation publishes its packs before it ends.
	_, indexed := v.index.Slot(id)
	return !indexed
}

// sees reports whether the operation may come to need a chunk there: one in quarantine is as good as absent, so that it is
// stored again.
func (p *pin) sees(slot, frame uint32) bool {
	if p.v.health.damaged(slot, frame) {
		p.met.Store(true)
		return false
	}
	return p.reads(slot, frame)
}

// reads reports whether the operation may read a pack.
func (p *pin) reads(slot, _ uint32) bool {
	p.v.mu.RLock()
	defer p.v.mu.RUnlock()
	if p.v.trashed[slot] {
		return false
	}
	e, condemned := p.v.condemned[slot]
	return !condemned || e > p.start
}

// keep makes sure that the packs of a set stay, for a commit record that is about to be written. It is the last moment at
// which a pack can be saved, and it comes before the record.
func (p *pin) keep(needs *refSet) error {
	v := p.v
	v.mu.Lock()
	defer v.mu.Unlock()
	for slot := range needs.all() {
		if v.trashed[slot] {
			return fault.New(fault.Internal, "a pack that the recovery point needs is in the trash")
		}
	}
	for slot := range needs.all() {
		delete(v.condemned, slot)
	}
	p.needs = needs
	return nil
}

// claim reserves the id of a recovery point for one writer.
func (v *vault) claim(id string) (free func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy[id] {
		return nil, fault.New(fault.Conflict, "recovery point %s is being written by another operation", id).WithResource(id)
	}
	v.busy[id] = true
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.busy, id)
	}, nil
}

// look begins Prune's look at what is needed.
func (v *vault) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.touched = map[uint32]bool{}
}

// condemn marks candidates that nothing running is known to need, in a new epoch, and ends the look. Packs that were
// condemned before stay so.
func (v *vault) condemn(candidates []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.epoch++
	for _, slot := range candidates {
		needed := v.touched[slot]
		for p := range v.pins {
			needed = needed || p.needs.bits(slot) != nil
		}
		if _, already := v.condemned[slot]; !needed && !already {
			v.condemned[slot] = v.epoch
		}
	}
	v.touched = nil
}

// giveUp ends a look without consequences.
func (v *vault) giveUp() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.touched = nil
}

// sweep takes the condemned packs that no running operation can need, for the trash; deferred is how many others there are.
// Nobody sees them from here on. If they do not get into the trash, the next hide shows them again.
func (v *vault) sweep() (packs []uint32, deferred int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	oldest := v.epoch
	for p := range v.pins {
		oldest = min(oldest, p.start)
	}
	for slot, e := range v.condemned {
		if e > oldest {
			deferred++
			continue
		}
		packs = append(packs, slot)
		v.trashed[slot] = true
	}
	for _, slot := range packs {
		delete(v.condemned, slot)
	}
	return packs, deferred
}

// inTrash reports whether a pack is in the trash.
func (v *vault) inTrash(slot uint32) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.trashed[slot]
}

// decided returns the packs that an earlier Prune condemned.
func (v *vault) decided() map[uint32]bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make(map[uint32]bool, len(v.condemned))
	for slot := range v.condemned {
		out[slot] = true
	}
	return out
}

// holds reports whether a pack of a set is condemned or in the trash, that is, not deleted yet though nobody needs it.
func (v *vault) holds(set *refSet) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for slot := range set.all() {
		if _, condemned := v.condemned[slot]; condemned || v.trashed[slot] {
			return true
		}
	}
	return false
}

// pardon takes packs out of the condemned set.
func (v *vault) pardon(set *refSet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for slot := range set.all() {
		delete(v.condemned, slot)
	}
}

// unneeded is the last look before a pack is deleted: that it is needed after all would be a mistake of this program.
func (v *vault) unneeded(slot uint32, live *refSet) error {
	v.mu.RLock()
	needed := live.bits(slot) != nil || !v.trashed[slot]
	for p := range v.pins {
		needed = needed || p.needs.bits(slot) != nil
	}
	v.mu.RUnlock()
	if needed {
		return fault.New(fault.Internal, "pack %s is about to be deleted and is needed: nothing was deleted", v.index.Pack(slot).Name())
	}
	return nil
}
