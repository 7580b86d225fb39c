package iam_test

import (
	"fmt"
	"sync"
	"testing"

	"strongroom/internal/fault"
	"strongroom/internal/iam"
)

func TestConcurrentCallersGetOneWinner(t *testing.T) {
	run(t, func(w *world) {
		const n = 8
		var mu sync.Mutex
		var wg sync.WaitGroup
		made, ids := map[string]int{}, map[string]bool{}
		for i := range n {
			wg.Go(func() {
				p, err := w.ServiceLinkedRole(w.ctx, prod, "backup.amazonaws.com")
				if err != nil {
					w.t.Errorf("service-linked role: %v", err)
				}
				name := fmt.Sprint("user", i%2)
				_, err = w.CreateUser(w.ctx, prod, iam.NewUser{Name: name})
				if err != nil && !fault.Is(err, fault.Exists) {
					w.t.Errorf("create: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				ids[p.ID] = true
				if err == nil {
					made[name]++
				}
			})
		}
		wg.Wait()
		if made["user0"] != 1 || made["user1"] != 1 || len(ids) != 1 {
			w.t.Errorf("made %v, roles %v", made, ids)
		}
	})
}

// A reader that runs beside a change may see the old or the new state, and only the new one once the change has returned.
func TestReadersNeverKeepAnOldState(t *testing.T) {
	run(t, func(w *world) {
		w.user("u")
		k, err := w.CreateAccessKey(w.ctx, prod, "u")
		w.ok(err)
		_, who, _, err := w.Credential(w.ctx, k.ID, "")
		w.ok(err)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := w.Policies(w.ctx, who); err != nil {
						w.t.Errorf("policies: %v", err)
						return
					}
				}
			})
		}
		for i := range 20 {
			if i%2 == 0 {
				w.ok(w.PutInline(w.ctx, prod, iam.UserRef("u"), "i", allow))
			} else {
				w.ok(w.DeleteInline(w.ctx, prod, iam.UserRef("u"), "i"))
			}
			if got := w.allows(who, "backup:ListBackupVaults"); got != (i%2 == 0) {
				w.t.Errorf("change %d is not seen", i)
			}
		}
		close(stop)
		wg.Wait()
	})
}
