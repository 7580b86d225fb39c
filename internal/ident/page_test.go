package ident

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPagerOpensWhatItSealed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Pager{Key: Bytes(32)}
		scope := rapid.String().Draw(t, "scope")
		cursor := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "cursor")
		got, err := p.Open(scope, p.Seal(scope, cursor...))
		if err != nil || !slices.Equal(got, cursor) {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

func TestPagerRefuses(t *testing.T) {
	t.Parallel()
	p := Pager{Key: Bytes(32)}
	scope := Scope("111111111111", "ListBackupVaults", "")
	token := p.Seal(scope, "vault-7")
	for name, open := range map[string]func() ([]string, error){
		"ErrEmpty":        func() ([]string, error) { return p.Open(scope, "") },
		"ErrForged":       func() ([]string, error) { return p.Open(scope, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") },
		"ErrOtherAccount": func() ([]string, error) { return p.Open(Scope("222222222222", "ListBackupVaults", ""), token) },
		"ErrOtherKey":     func() ([]string, error) { return Pager{Key: Bytes(32)}.Open(scope, token) },
		"ErrTrailing":     func() ([]string, error) { return p.Open(scope, token+"A") },
		"ErrNoCursor":     func() ([]string, error) { return p.Open(scope, p.Seal(scope)) },
	} {
		if got, err := open(); err != ErrToken {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for i := range token {
		b := []byte(token)
		b[i] = "BA"[b2i(b[i] == 'B')]
		if string(b) == token {
			continue
		}
		if got, err := p.Open(scope, string(b)); err == nil {
			t.Fatalf("character %d changed and accepted: %q", i, got)
		}
	}
	if Scope("a", "bc") == Scope("ab", "c") {
		t.Error("different scopes are the same")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func FuzzPagerOpen(f *testing.F) {
	p := Pager{Key: make([]byte, 32)}
	f.Add("s", p.Seal("s", "a", "b"))
	f.Add("s", "")
	f.Fuzz(func(t *testing.T, scope, token string) {
		if cursor, err := p.Open(scope, token); err == nil && p.Seal(scope, cursor...) != token {
			t.Fatalf("%q opened, but is not what sealing gives", token)
		}
	})
}
