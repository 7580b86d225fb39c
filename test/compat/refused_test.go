package compat

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/fault"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/standalone"
	"strongroom/test/bar"
)

// signer makes objects as a newer program would: with tags that are right. It follows docs/FORMAT.md §3, not the engine.
type signer struct {
	keys  recovery.Keys
	vault []byte
}

func (s signer) derive(secret []byte, purpose string) []byte {
	return must(hkdf.Key(sha256.New, secret, nil, "strongroom/1 "+purpose+" "+string(s.vault), 32))
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// tagged appends the tag that an object of a name has.
func (s signer) tagged(name string, body []byte) []byte {
	n := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	return append(body, mac(s.derive(s.keys.Maint, "objects"), n, []byte(name), body)...)
}

// descriptor replaces the descriptor's body.
func (s signer) descriptor(body []byte) []byte {
	return s.tagged("vault", append(body, mac(s.derive(s.keys.Root, "descriptor"), body)...))
}

func text16(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func feature(name string, read, write, prune byte) []byte {
	return slices.Concat([]byte("SRFEAT\x00\x01"), text16(name), []byte{read, write, prune, 0})
}

// TestB36WhatIsNewerIsRefusedWithoutATouch gives a vault another format number and features of the future, and sees that neither
// reader nor engine changes a byte, and that each does exactly what the vault allows to those who do not know them.
func TestB36WhatIsNewerIsRefusedWithoutATouch(t *testing.T) {
	t.Parallel()
	changed := 0
	for name, x := range map[string]struct {
		change      func(s signer, body []byte) (object string, data []byte)
		read, write bool
	}{
		"format 2":           {func(s signer, b []byte) (string, []byte) { b[8] = 2; return "vault", s.descriptor(b) }, false, false},
		"format 2, unsigned": {func(s signer, b []byte) (string, []byte) { b[8] = 2; return "vault", append(b, make([]byte, 64)...) }, false, false},
		"format 300": {func(s signer, b []byte) (string, []byte) {
			return "vault", s.descriptor(slices.Concat(b[:8], []byte{0xac, 2}, b[9:]))
		}, false, false},
		"feature needed to read": {func(s signer, b []byte) (string, []byte) {
			return "features/f", s.tagged("features/f", feature("f", 1, 1, 1))
		}, false, false},
		"feature needed to write": {func(s signer, b []byte) (string, []byte) {
			return "features/f", s.tagged("features/f", feature("f", 0, 1, 1))
		}, true, false},
		"feature needed to prune": {func(s signer, b []byte) (string, []byte) {
			return "features/f", s.tagged("features/f", feature("f", 0, 0, 1))
		}, true, true},
		"in the descriptor, read": {func(s signer, b []byte) (string, []byte) {
			return "vault", s.descriptor(append(b[:len(b)-3], 1, 1, 'f', 0, 0))
		}, false, false},
		"in the descriptor, write": {func(s signer, b []byte) (string, []byte) {
			return "vault", s.descriptor(append(b[:len(b)-3], 0, 1, 1, 'f', 0))
		}, true, false},
		"a feature nobody must know": {func(s signer, b []byte) (string, []byte) {
			return "features/f", s.tagged("features/f", feature("f", 0, 0, 0))
		}, true, true},
	} {
		g := newest(t)
		store := must(disk.OpenReader(g.dir))
		d := must(repo.Describe(t.Context(), store))
		k := must(g.opens.Open(d.Vault, must(repo.Envelopes(t.Context(), store))))
		s := signer{k, must(hex.DecodeString(strings.ReplaceAll(k.Vault, "-", "")))}
		old := must(os.ReadFile(filepath.Join(g.dir, "vault")))
		object, data := x.change(s, slices.Clone(old[:len(old)-64]))
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(g.dir, object)), 0o700))
		check(t, os.WriteFile(filepath.Join(g.dir, object), data, 0o600))
		before := fingerprint(t, g.dir)

		is := func(what string, err error, allowed bool) {
			t.Helper()
			if allowed && err != nil || !allowed && !fault.Is(err, fault.Unsupported) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		v, err := standalone.Open(t.Context(), standalone.Config{Dir: g.dir, Secret: g.opens, Clock: clock.System{}})
		is("open for reading", err, x.read)
		if err == nil {
			_, err = v.Verify(t.Context(), standalone.VerifyOptions{})
			is("verify", err, true)
			check(t, v.Close())
		}
		// A node opens the directory before it knows what is in it: the engine itself must not write either.
		engine := func() error {
			r, err := repo.Open(t.Context(), repo.Config{Store: must(disk.OpenReader(g.dir)), Vault: k.Vault, Root: k.Root, Maint: k.Maint, Clock: clock.System{}})
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = r.Backup(t.Context(), newSource(), repo.BackupOptions{ID: "new"})
			return err
		}
		if err := engine(); !x.write {
			is("backup by the engine", err, false)
		}
		if hasPython() && (bar.Full() || strings.HasPrefix(name, "feature needed")) {
			if status := g.ask(t, nil, "list"); status == 0 != x.read || status == 1 {
				t.Errorf("%s: the independent reader answers %d", name, status)
			}
		}
		if !x.write {
			v, err := standalone.Open(t.Context(), standalone.Config{Dir: g.dir, Secret: g.opens, Clock: clock.System{}, Write: true})
			is("open for writing", err, false)
			if err == nil {
				v.Close()
			}
		}
		if fingerprint(t, g.dir) != before {
			changed++
			t.Errorf("%s: the vault was changed", name)
		}
		if x.write { // and what may be written can be
			v, err := standalone.Open(t.Context(), standalone.Config{Dir: g.dir, Secret: g.opens, Clock: clock.System{}, Write: true})
			is("open for writing", err, true)
			if err == nil {
				check(t, v.Close())
			}
		}
	}
	bar.Report(t, "B36", "9 vaults of a newer format or with unknown features: %d changed", changed)
}

// newest unpacks a small golden vault of the current version.
func newest(t *testing.T) golden {
	t.Helper()
	return golden{
		dir: unzip(t, "testdata/v1-node.zip"), secret: "--identity-file=testdata/identity.txt",
		opens: must(recovery.Identities(must(os.ReadFile("testdata/identity.txt")))),
	}
}
