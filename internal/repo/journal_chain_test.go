package repo

import (
	"testing"
	"time"

	"strongroom/internal/blob/mem"
	"strongroom/internal/fault"
	"strongroom/internal/repo/seal"
)

// An entry continues exactly the one before it: one of another history is refused, although its tag, name and number are right.
// Else who can write to a store could put back an older state entry by entry.
func TestAJournalEntryOfAnotherHistoryIsRefused(t *testing.T) {
	t.Parallel()
	_, maint := testKeys(t)
	history := func(first string) *mem.Store {
		s := mem.New()
		j := &journal{store: s, maint: maint, points: map[string]journaled{}, trash: map[seal.PackID]trashed{}}
		for _, id := range []string{first, "second", "third"} {
			if err := j.append(t.Context(), journalEntry{kind: jCommit, id: id, at: time.Unix(1, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	one, other := history("one"), history("other")
	for n := range uint64(3) {
		s := one.Clone()
		s.Damage(journalName(n, false), other.Bytes(journalName(n, false)))
		j := &journal{store: s, maint: maint}
		if err := j.load(t.Context()); !fault.Is(err, fault.Corrupt) {
			t.Errorf("entry %d of another history: %v", n, err)
		}
	}
	j := &journal{store: one, maint: maint}
	if err := j.load(t.Context()); err != nil {
		t.Error(err)
	}
}
