package kms_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"strongroom/internal/clock"
	"strongroom/internal/db/dbtest"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

// into brings a new key into a state.
func (w *world) into(t *testing.T, s kms.State) string {
	t.Helper()
	key := w.key(t)
	switch s {
	case kms.Disabled:
		ok(t, w.DisableKey(t.Context(), key))
	case kms.PendingDeletion:
		_, err := w.ScheduleDeletion(t.Context(), key, 7)
		ok(t, err)
	}
	return key
}

func TestStatesAllowWhatTheyShould(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		base := w.key(t)
		const use, manage, read, cancel = "use", "manage", "read", "cancel"
		operations := []struct {
			name, class string
			do          func(key string) error
		}{
			{"Encrypt", use, func(k string) error { _, err := w.Encrypt(ctx, k, []byte("x"), nil); return err }},
			{"GenerateDataKey", use, func(k string) error { _, _, err := w.GenerateDataKey(ctx, k, nil, 32); return err }},
			{"CreateGrant", use, func(k string) error {
				_, _, err := w.CreateGrant(ctx, k, kms.NewGrant{Issuer: acct, Grantee: root(other).ARN, Operations: []string{"Decrypt"}})
				return err
			}},
			{"EnableKeyRotation", use, func(k string) error { return w.EnableRotation(ctx, k, 90) }},
			{"DisableKeyRotation", use, func(k string) error { return w.DisableRotation(ctx, k) }},
			{"RotateKeyOnDemand", use, func(k string) error { _, err := w.Rotate(ctx, k); return err }},
			{"ReEncrypt to", use, func(k string) error {
				s, err := w.Encrypt(ctx, base, []byte("x"), nil)
				if err == nil {
					_, _, err = w.ReEncrypt(ctx, s.Blob, nil, k, nil)
				}
				return err
			}},
			{"CreateAlias", manage, func(k string) error { return w.CreateAlias(ctx, "alias/"+k[len(k)-36:], k) }},
			{"EnableKey", manage, func(k string) error { return w.EnableKey(ctx, k) }},
			{"DisableKey", manage, func(k string) error { return w.DisableKey(ctx, k) }},
			{"ScheduleKeyDeletion", manage, func(k string) error { _, err := w.ScheduleDeletion(ctx, k, 7); return err }},
			{"TagResource", manage, func(k string) error { return w.Tag(ctx, k, map[string]string{"a": "b"}) }},
			{"UntagResource", manage, func(k string) error { return w.Untag(ctx, k, []string{"a"}) }},
			{"UpdateKeyDescription", manage, func(k string) error { return w.UpdateDescription(ctx, k, "d") }},
			{"CancelKeyDeletion", cancel, func(k string) error { return w.CancelDeletion(ctx, k) }},
			{"DescribeKey", read, func(k string) error { _, err := w.Describe(ctx, k); return err }},
			{"PutKeyPolicy", read, func(k string) error { return w.PutPolicy(ctx, root(acct), k, kms.DefaultPolicy(acct), false) }},
			{"ListGrants", read, func(k string) error { _, _, err := w.Grants(ctx, k, kms.GrantFilter{}, "", 10); return err }},
			{"ListResourceTags", read, func(k string) error { _, err := w.Tags(ctx, k); return err }},
			{"ListKeyRotations", read, func(k string) error { _, _, err := w.Materials(ctx, k, 0, 10); return err }},
		}
		want := map[string]map[kms.State]string{
			use:    {kms.Disabled: kms.CodeDisabled, kms.PendingDeletion: kms.CodeInvalidState},
			manage: {kms.PendingDeletion: kms.CodeInvalidState},
			cancel: {kms.Enabled: kms.CodeInvalidState, kms.Disabled: kms.CodeInvalidState},
			read:   {},
		}
		for _, op := range operations {
			for _, s := range []kms.State{kms.Enabled, kms.Disabled, kms.PendingDeletion} {
				err := op.do(w.into(t, s))
				code := ""
				if f := fault.As(err); f != nil {
					code = f.Code
				}
				if code != want[op.class][s] || (err == nil) != (code == "") {
					t.Errorf("%s of a key that is %s: got %v, want %q", op.name, s, err, want[op.class][s])
				}
			}
		}
	})
}

func TestCancelledDeletionLeavesTheKeyDisabled(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.into(t, kms.PendingDeletion)
		if k := w.describe(t, key); !k.Deletion.Equal(w.clock.Now().Add(7*day)) || k.PendingDays != 7 {
			t.Fatalf("%+v", k)
		}
		ok(t, w.CancelDeletion(t.Context(), key))
		if k := w.describe(t, key); k.State != kms.Disabled || !k.Deletion.IsZero() {
			t.Fatalf("%+v", k)
		}
		w.clock.Advance(40 * day)
		st, err := w.RunOnce(t.Context())
		if err != nil || len(st.Destroyed) != 0 {
			t.Fatal(st, err)
		}
	})
}

func TestDueKeysAreDestroyedAndNothingOpensTheirCiphertexts(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key(t)
		ok(t, w.CreateAlias(ctx, "alias/mine", key))
		blob, err := w.Encrypt(ctx, key, []byte("x"), nil)
		ok(t, err)
		_, err = w.ScheduleDeletion(ctx, key, 7)
		ok(t, err)
		w.clock.Advance(7*day - 1)
		if st, err := w.RunOnce(ctx); err != nil || len(st.Destroyed) != 0 {
			t.Fatal(st, err)
		}
		w.clock.Advance(1)
		w.clock.Advance(1000)
		if st, err := w.RunOnce(ctx); err != nil || len(st.Destroyed) != 1 || st.Destroyed[0] != key {
			t.Fatal(st, err)
		}
		_, err = w.Describe(ctx, key)
		wantFault(t, err, fault.NotFound, "")
		_, _, err = w.Decrypt(ctx, blob.Blob, nil)
		wantFault(t, err, fault.NotFound, "")
		if ref, err := w.Resolve(ctx, acct, region, "alias/mine", true); err != nil || ref.Exists {
			t.Fatal(ref, err)
		}
	})
}

func TestKeyOfLockedRecoveryPointsIsNeitherScheduledNorDestroyed(t *testing.T) {
	var points []string
	var asking error
	run(t, func(c *kms.Config) {
		c.InUse = func(context.Context, string) ([]string, error) { return points, asking }
	}, func(t *testing.T, w *world) {
		ctx := t.Context()
		points, asking = nil, nil
		key := w.key(t)
		points = []string{"arn:aws:backup:us-east-1:222222222222:recovery-point:1"}
		_, err := w.ScheduleDeletion(ctx, key, 7)
		wantFault(t, err, fault.State, kms.CodeInvalidState)
		if !bytes.Contains([]byte(fault.As(err).Msg), []byte(points[0])) {
			t.Fatalf("does not name the recovery point: %v", err)
		}
		points, asking = nil, errors.New("catalog is away")
		if _, err := w.ScheduleDeletion(ctx, key, 7); err == nil {
			t.Fatal("scheduled without knowing what depends on the key")
		}
		asking = nil
		_, err = w.ScheduleDeletion(ctx, key, 7)
		ok(t, err)
		points = []string{"arn:late"} // committed between the question and the schedule
		w.clock.Advance(8 * day)
		st, err := w.RunOnce(ctx)
		if err == nil || len(st.Destroyed) != 0 || w.describe(t, key).State != kms.PendingDeletion {
			t.Fatal(st, err)
		}
		points = nil
		if st, err = w.RunOnce(ctx); err != nil || len(st.Destroyed) != 1 {
			t.Fatal(st, err)
		}
	})
}

func TestClocksThatDisagreeDestroyNothing(t *testing.T) {
	var reading clock.Reading
	run(t, func(c *kms.Config) { c.Trusted = func() clock.Reading { return reading } }, func(t *testing.T, w *world) {
		reading = clock.Reading{Now: w.clock.Now()}
		key := w.into(t, kms.PendingDeletion)
		w.clock.Advance(30 * day) // the wall clock is set forward, the compliance clock is not
		for _, frozen := range []bool{false, true} {
			reading.Frozen, reading.Reason = frozen, "clocks disagree"
			if st, err := w.RunOnce(t.Context()); err != nil || len(st.Destroyed) != 0 {
				t.Fatal(st, err)
			}
		}
		_, err := w.ScheduleDeletion(t.Context(), w.key(t), 7)
		wantFault(t, err, fault.State, kms.CodeInvalidState)
		reading = clock.Reading{Now: w.clock.Now()}
		if st, err := w.RunOnce(t.Context()); err != nil || len(st.Destroyed) != 1 || st.Destroyed[0] != key {
			t.Fatal(st, err)
		}
	})
}

func TestAutomaticRotation(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key(t)
		ok(t, w.EnableRotation(ctx, key, 90))
		first := w.describe(t, key).MaterialID
		w.clock.Advance(90*day - 10*60*1e9)
		_, err := w.Rotate(ctx, key)
		wantFault(t, err, fault.Conflict, "")
		w.clock.Advance(10 * 60 * 1e9)
		if st, err := w.RunOnce(ctx); err != nil || len(st.Rotated) != 1 {
			t.Fatal(st, err)
		}
		if w.describe(t, key).MaterialID == first {
			t.Fatal("not rotated")
		}
		ok(t, w.DisableKey(ctx, key))
		w.clock.Advance(300 * day)
		if st, err := w.RunOnce(ctx); err != nil || len(st.Rotated) != 0 {
			t.Fatal("a disabled key was rotated", st, err)
		}
		ok(t, w.EnableKey(ctx, key))
		for range 2 { // once for all the missed dates
			_, err := w.RunOnce(ctx)
			ok(t, err)
		}
		if list, _, err := w.Materials(ctx, key, 0, 10); err != nil || len(list) != 3 || list[2].Type != "AUTOMATIC" {
			t.Fatalf("%+v %v", list, err)
		}
	})
}

// TestKeyLifeModel drives one key through random operations beside a model of its state, and demands after each that every ciphertext
// made so far opens exactly when the key is enabled.
func TestKeyLifeModel(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(clock.System{}.Now())
	w := &world{clock: c, db: dbtest.SQLite(t, c.Now), seal: t.TempDir() + "/seal"}
	w.open(t, nil)
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		key := w.key(t)
		state, exists := kms.Enabled, true
		var due int64
		var blobs [][]byte
		agree := func(err error, allowed bool) {
			if (err == nil) != allowed {
				rt.Fatalf("state %s, exists %v: %v", state, exists, err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enable": func(*rapid.T) {
				err := w.EnableKey(ctx, key)
				agree(err, exists && state != kms.PendingDeletion)
				if err == nil {
					state = kms.Enabled
				}
			},
			"disable": func(*rapid.T) {
				err := w.DisableKey(ctx, key)
				agree(err, exists && state != kms.PendingDeletion)
				if err == nil {
					state = kms.Disabled
				}
			},
			"schedule": func(rt *rapid.T) {
				days := rapid.IntRange(7, 30).Draw(rt, "days")
				k, err := w.ScheduleDeletion(ctx, key, days)
				agree(err, exists && state != kms.PendingDeletion)
				if err == nil {
					state, due = kms.PendingDeletion, k.Deletion.UnixMicro()
				}
			},
			"cancel": func(*rapid.T) {
				err := w.CancelDeletion(ctx, key)
				agree(err, exists && state == kms.PendingDeletion)
				if err == nil {
					state = kms.Disabled
				}
			},
			"rotate": func(*rapid.T) {
				_, err := w.Rotate(ctx, key)
				if !fault.Is(err, fault.Limit) {
					agree(err, exists && state == kms.Enabled)
				}
			},
			"encrypt": func(*rapid.T) {
				s, err := w.Encrypt(ctx, key, []byte{byte(len(blobs))}, nil)
				agree(err, exists && state == kms.Enabled)
				if err == nil {
					blobs = append(blobs, s.Blob)
				}
			},
			"time": func(rt *rapid.T) {
				c.Advance(day * 4)
				_, err := w.RunOnce(ctx)
				if err != nil {
					rt.Fatal(err)
				}
				if state == kms.PendingDeletion && c.Now().UnixMicro() >= due {
					exists = false
				}
			},
			"": func(rt *rapid.T) {
				for i, b := range blobs {
					plain, _, err := w.Decrypt(ctx, b, nil)
					agree(err, exists && state == kms.Enabled)
					if err == nil && plain[0] != byte(i) {
						rt.Fatal("wrong plaintext")
					}
				}
			},
		})
	})
}
