package prunemodel

import (
	"fmt"
	"testing"

	"strongroom/test/bar"
)

// explore walks through all states and returns how many there are, and the first one that is wrong with the way to it.
func explore(m mistakes, from state, limit int) (states, finals int, wrong string) {
	seen := map[state]bool{from: true}
	queue := []state{from}
	for len(queue) > 0 && len(seen) < limit {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if why := s.damage(); why != "" {
			return len(seen), finals, why
		}
		next := s.step(&m)
		running := s.pruner.at > 0 && s.pruner.at < 30 || s.reader.at == 1 || s.reader.at == 2
		for _, w := range s.writers {
			running = running || w.running()
		}
		if !running {
			finals++
			once := s.quiet(&m)
			twice := once.quiet(&m)
			for _, q := range []state{once, twice} {
				if why := q.damage(); why != "" {
					return len(seen), finals, why
				}
			}
			if why := twice.garbage(); why != "" {
				return len(seen), finals, fmt.Sprintf("%s is left after two quiet prunes: %+v", why, twice)
			}
		}
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	return len(seen), finals, ""
}

func TestB19NoInterleavingLosesAChunkOrLeavesGarbage(t *testing.T) {
	t.Parallel()
	backups := bar.Size(1, 2)
	states, finals, wrong := explore(mistakes{}, start(backups), 1<<30)
	if wrong != "" {
		t.Fatal(wrong)
	}
	bar.Report(t, "B19", "model: %d states of %d backups, 1 copy, 1 prune, 1 forget and 1 crash in all orders, %d of them at rest: 0 chunks lost, 0 garbage after 2 quiet prunes", states, backups, finals)
}

func TestTheExplorerFindsEveryPlantedMistake(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]mistakes{
		"a commit does not take condemned packs back":        {noCommitCheck: true},
		"condemning does not raise the epoch":                {noEpoch: true},
		"the sweep ignores pins":                             {sweepIgnoresPins: true},
		"what commits during the look is not recorded":       {noTouched: true},
		"what a running commit needs is not asked for":       {needsIgnored: true},
		"everybody sees condemned packs":                     {condemnedSeen: true},
		"the index forgets a pack last":                      {indexLast: true},
		"a recovery point is not redirected to moved frames": {noRedirect: true},
		"everybody sees packs in the trash":                  {trashSeen: true},
		"after a crash, everybody sees packs in the trash":   {trashSeenAfterCrash: true},
		"packs being written are taken for abandoned":        {orphansIgnoreWriters: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			states, _, wrong := explore(m, start(1), 1<<30)
			if wrong == "" {
				states, _, wrong = explore(m, start(2), 1<<30)
			}
			if wrong == "" {
				t.Errorf("not found in %d states", states)
			}
			t.Logf("after %d states: %.100s", states, wrong)
		})
	}
}
