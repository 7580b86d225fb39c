package iam

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyIDsNameTheirAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		account := fmt.Sprintf("%012d", rapid.Uint64Range(0, 999_999_999_999).Draw(t, "account"))
		prefix := rapid.SampledFrom([]string{prefixKey, prefixTemporary}).Draw(t, "prefix")
		id, err := newKeyID(prefix, account)
		if err != nil || len(id) != 20 || !strings.HasPrefix(id, prefix) {
			t.Fatalf("%q, %v", id, err)
		}
		if got, err := KeyAccount(id); err != nil || got != account {
			t.Fatalf("%s: %s, %v", id, got, err)
		}
	})
}

func FuzzSplitARN(f *testing.F) {
	for _, s := range []string{"arn:aws:iam::111111111111:root", "arn:aws:iam::111111111111:user/a/b/c", "arn:aws:iam::aws:policy/service-role/X", "arn:aws:iam:::role/", "arn:aws:sts::1:assumed-role/r/s", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		account, kind, path, name, ok := SplitARN(s)
		if !ok || name == "" {
			return
		}
		if got := entityARN(account, kind, path, name); got != s {
			t.Fatalf("%q was taken apart into the parts of %q", s, got)
		}
	})
}

func FuzzKeyAccount(f *testing.F) {
	for _, s := range []string{"AKIAIOSFODNN7EXAMPLE", "ASIA7777777777777777", "AKIA================", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := KeyAccount(s); err == nil && len(a) != 12 {
			t.Fatalf("%q: account %q", s, a)
		}
	})
}
