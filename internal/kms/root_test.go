package kms_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

func TestRootOpensOnlyWithItsSeal(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		blob, err := w.Encrypt(t.Context(), w.key(t), []byte("x"), nil)
		ok(t, err)
		info, err := os.Stat(w.seal)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v %v", info, err)
		}
		w.open(t, nil) // a restart
		if _, _, err := w.Decrypt(t.Context(), blob.Blob, nil); err != nil {
			t.Fatal(err)
		}

		missing := kms.OpenSeal(filepath.Join(t.TempDir(), "gone"))
		if _, err := kms.OpenRoot(t.Context(), w.db, missing); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Fatalf("missing seal: %v", err)
		}
		if _, err := missing.ID(); err == nil {
			t.Fatal("a missing seal was made anew")
		}

		wrong := kms.OpenSeal(filepath.Join(t.TempDir(), "other"))
		ok(t, wrong.Create())
		if _, err := kms.OpenRoot(t.Context(), w.db, wrong); err == nil || !strings.Contains(err.Error(), "another seal") {
			t.Fatalf("other seal: %v", err)
		}

		ok(t, os.Chmod(w.seal, 0o640))
		if _, err := kms.OpenRoot(t.Context(), w.db, kms.OpenSeal(w.seal)); err == nil || !strings.Contains(err.Error(), "chmod") {
			t.Fatalf("readable seal: %v", err)
		}
		ok(t, os.Chmod(w.seal, 0o600))
		text, err := os.ReadFile(w.seal)
		ok(t, err)
		ok(t, os.WriteFile(w.seal, text[:len(text)-5], 0o600))
		_, err = kms.OpenRoot(t.Context(), w.db, kms.OpenSeal(w.seal))
		if err == nil || strings.Contains(err.Error(), strings.Fields(string(text))[1][:8]) {
			t.Fatalf("damaged seal: %v", err)
		}
	})
}

func TestSealIsNeverReplaced(t *testing.T) {
	t.Parallel()
	s := kms.OpenSeal(filepath.Join(t.TempDir(), "seal"))
	ok(t, s.Create())
	before, err := s.ID()
	ok(t, err)
	ok(t, s.Create())
	if after, err := s.ID(); err != nil || after != before {
		t.Fatalf("%s %s %v", before, after, err)
	}
}

func TestSealedSecretsAreBoundToPurposeAndOwner(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		sealed, err := w.Root.Seal("iam/access-key", []byte("secret"), "AKIA1")
		ok(t, err)
		if bytes.Contains(sealed, []byte("secret")) {
			t.Fatal("not sealed")
		}
		if plain, err := w.Root.Open("iam/access-key", sealed, "AKIA1"); err != nil || string(plain) != "secret" {
			t.Fatal(err)
		}
		for _, c := range [][2]string{{"iam/access-key", "AKIA2"}, {"iam/other", "AKIA1"}, {"", ""}} {
			_, err := w.Root.Open(c[0], sealed, c[1])
			wantFault(t, err, fault.Corrupt, "")
		}
		for i := range sealed {
			b := bytes.Clone(sealed)
			b[i] ^= 0x10
			_, err := w.Root.Open("iam/access-key", b, "AKIA1")
			wantFault(t, err, fault.Corrupt, "")
		}
	})
}

func TestNodeKeysAreStableAndDistinct(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		a := w.Root.NodeKey("a")
		if len(a) != 32 || bytes.Equal(a, w.Root.NodeKey("b")) {
			t.Fatal("keys of two purposes are equal")
		}
		ok(t, w.Root.Rotate(t.Context()))
		w.open(t, nil)
		if !bytes.Equal(a, w.Root.NodeKey("a")) {
			t.Fatal("the key changed")
		}
	})
}

func TestRootRotationRewrapsAndOldSecretsStillOpen(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		key := w.key(t)
		blob, err := w.Encrypt(t.Context(), key, []byte("x"), nil)
		ok(t, err)
		sealed, err := w.Root.Seal("p", []byte("s"), "")
		ok(t, err)
		ok(t, w.Root.Rotate(t.Context()))
		n, err := w.Rewrap(t.Context())
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if n, err = w.Rewrap(t.Context()); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		w.open(t, nil)
		if got := w.Root.Versions(); len(got) != 2 {
			t.Fatal(got)
		}
		if _, _, err := w.Decrypt(t.Context(), blob.Blob, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Root.Open("p", sealed, ""); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLostSealIsReplacedByTheRecoveryIdentity(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		id, err := age.GenerateX25519Identity()
		ok(t, err)
		ok(t, w.Root.AddRecoveryRecipient(t.Context(), id.Recipient().String()))
		ok(t, w.Root.AddRecoveryRecipient(t.Context(), id.Recipient().String()))
		ok(t, w.Root.Rotate(t.Context())) // later versions are wrapped for it too
		blob, err := w.Encrypt(t.Context(), w.key(t), []byte("x"), nil)
		ok(t, err)

		ok(t, os.Remove(w.seal))
		stranger, err := age.GenerateX25519Identity()
		ok(t, err)
		wantFault(t, kms.Reseal(t.Context(), w.db, kms.OpenSeal(w.seal), stranger.String()), fault.NotFound, "")
		if _, err := os.Stat(w.seal); err == nil {
			t.Fatal("a refused recovery made a seal")
		}
		ok(t, kms.Reseal(t.Context(), w.db, kms.OpenSeal(w.seal), id.String()))
		w.open(t, nil)
		if plain, _, err := w.Decrypt(t.Context(), blob.Blob, nil); err != nil || string(plain) != "x" {
			t.Fatal(err)
		}
	})
}
