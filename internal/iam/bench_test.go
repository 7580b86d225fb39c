package iam_test

import (
	"context"
	"path/filepath"
	"testing"

	"strongroom/internal/clock"
	"strongroom/internal/db"
	"strongroom/internal/iam"
)

// What every request costs: the credential of a session with a session policy, and its policies.
func BenchmarkSessionCredentialAndPolicies(b *testing.B) {
	ctx := context.Background()
	d, err := db.Open(ctx, db.Config{URL: filepath.Join(b.TempDir(), "c.db"), Now: clock.System{}.Now})
	must(b, err)
	defer d.Close()
	s, err := iam.New(ctx, iam.Config{DB: d, Clock: clock.System{}, Secrets: sealer{}})
	must(b, err)
	must(b, s.AddAccount(ctx, prod))
	_, err = s.CreateUser(ctx, prod, iam.NewUser{Name: "u"})
	must(b, err)
	key, err := s.CreateAccessKey(ctx, prod, "u")
	must(b, err)
	_, err = s.CreateRole(ctx, prod, iam.NewRole{Name: "r", Trust: trusting(prod)})
	must(b, err)
	must(b, s.Attach(ctx, prod, iam.RoleRef("r"), "arn:aws:iam::aws:policy/AWSBackupFullAccess"))
	_, caller, _, err := s.Credential(ctx, key.ID, "")
	must(b, err)
	session, err := s.AssumeRole(ctx, caller, "us-east-1", iam.AssumeRole{RoleARN: "arn:aws:iam::111111111111:role/r", SessionName: "bench", Policy: allow})
	must(b, err)
	for name, c := range map[string][2]string{"key": {key.ID, ""}, "session": {session.AccessKeyID, session.Token}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, p, _, err := s.Credential(ctx, c[0], c[1])
				must(b, err)
				_, err = s.Policies(ctx, p)
				must(b, err)
			}
		})
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
