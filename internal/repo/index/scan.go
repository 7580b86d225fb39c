package index

import "context"

// Each calls fn for every entry of a pack that is in the index, in no order; an entry may come several times. It reads the whole
// index. fn must not call the Set.
func (s *Set) Each(ctx context.Context, fn func(Entry) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, seg := range s.segments {
		err := s.each(ctx, seg, func(pairs []byte) error {
			for ; len(pairs) > 0; pairs = pairs[pairSize:] {
				e := decodePair(pairs)
				if int(e.Pack) >= len(seg.slots) {
					return corrupt(seg.id.Name(), "an entry names a pack that does not exist")
				}
				e.Pack = seg.slots[e.Pack]
				if s.dead(seg, e.Pack) {
					continue
				}
				if err := fn(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
