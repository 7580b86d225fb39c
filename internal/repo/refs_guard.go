package repo

import "sync"

// refsGuard keeps Prune from removing reference sets that a running session is going to build on. What pins are for packs it
// is for these objects: a session holds them before it reads them, and Prune asks before it removes one.
type refsGuard struct {
	mu      sync.Mutex
	held    map[refsKey]int
	used    map[refsKey]bool // non-nil while Prune is at work: what was held since then
	removed map[refsKey]bool // no way back
}

// hold keeps an object until the function that it returns is called. ok is false when Prune removes it.
func (g *refsGuard) hold(k refsKey) (free func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.removed[k] {
		return nil, false
	}
	if g.held == nil {
		g.held = map[refsKey]int{}
	}
	g.held[k]++
	if g.used != nil {
		g.used[k] = true
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.held[k]--; g.held[k] == 0 {
			delete(g.held, k)
		}
	}, true
}

// look begins a Prune: what sessions hold now or from now on stays until end is called, because a commit that the Prune has
// not seen may build on it.
func (g *refsGuard) look() (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used = map[refsKey]bool{}
	for k := range g.held {
		g.used[k] = true
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.used = nil
	}
}

// remove asks whether an object may be removed. done tells what became of it: an object of which it is not known that it is
// gone stays barred.
func (g *refsGuard) remove(k refsKey) (done func(gone bool), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held[k] > 0 || g.used[k] {
		return nil, false
	}
	if g.removed == nil {
		g.removed = map[refsKey]bool{}
	}
	g.removed[k] = true
	return func(gone bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if gone {
			delete(g.removed, k)
		}
	}, true
}
