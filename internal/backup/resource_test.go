package backup

import (
	"context"
	"fmt"
	"testing"
	"time"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

func TestDeclareReplacesTheAgentsSet(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		res := func(id string) Resource {
			return Resource{ARN: "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/" + id, Type: "EFS", Account: testAccount, Region: testRegion, Tags: map[string]string{"id": id}}
		}
		bucket := Resource{ARN: "arn:aws:s3:::bucket", Type: "S3", Account: testAccount, Region: testRegion}
		must(t, f.DeclareResources(ctx, "one", []Resource{res("a"), res("b"), bucket}))
		must(t, f.DeclareResources(ctx, "two", []Resource{res("c")}))
		must(t, f.DeclareResources(ctx, "one", []Resource{res("b"), bucket}))
		list, err := f.DeclaredResources(ctx, testAccount, testRegion)
		must(t, err)
		got := ""
		for _, r := range list {
			got += fmt.Sprintf("%s@%s%v ", r.ARN[len(r.ARN)-1:], r.Agent, r.Tags)
		}
		if got != "b@onemap[id:b] c@twomap[id:c] t@onemap[] " {
			t.Fatal(got)
		}
		f.clock.Advance(time.Second)
		must(t, f.DeclareResources(ctx, "two", []Resource{res("b")})) // both serve it now; the last to declare is named
		r, err := f.DeclaredResource(ctx, testAccount, testRegion, res("b").ARN)
		must(t, err)
		if r.Agent != "two" {
			t.Fatalf("%+v", r)
		}
		if list, err = f.DeclaredResources(ctx, testAccount, testRegion); err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		_, err = f.DeclaredResource(ctx, testOther, testRegion, res("b").ARN)
		want(t, err, fault.NotFound, "")

		foreign, wrongRegion, unknown, twice := res("x"), res("x"), res("x"), res("b")
		foreign.Account, wrongRegion.Region, unknown.Type = testOther, "eu-west-1", "Floppy"
		for _, set := range [][]Resource{{foreign}, {wrongRegion}, {unknown}, {res("b"), twice}, {{ARN: "x", Type: "EFS", Account: testAccount, Region: testRegion}}, {{ARN: bucket.ARN, Type: "S3"}}} {
			want(t, f.DeclareResources(ctx, "one", set), fault.Invalid, "")
		}
		if r, err = f.DeclaredResource(ctx, testAccount, testRegion, bucket.ARN); err != nil {
			t.Fatalf("a refused declaration changed the set: %v", err)
		}
	})
}

func TestProtectedResourcesFollowTheirNewestRecoveryPoint(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("one")
		f.vault("two")
		at := func(d time.Duration) func(*RecoveryPoint) {
			return func(r *RecoveryPoint) { r.Created = f.clock.Now().Add(d) }
		}
		old := f.point("one", at(-3*time.Hour))
		newest := f.point("two", at(-time.Hour))
		middle := f.point("one", at(-2*time.Hour))
		older := f.point("one", at(-9*time.Hour)) // a copy of an old recovery point arrives last
		making := f.point("two", func(r *RecoveryPoint) { r.Status = PointCreating })
		f.point("one", func(r *RecoveryPoint) {
			r.ResourceARN, r.ResourceType = "arn:aws:rds:us-east-1:222222222222:db:foreign", "RDS"
		})

		show := func(p ProtectedResource, r RecoveryPoint) {
			t.Helper()
			if p.ARN != testFS || p.LastPointARN != r.ARN || p.LastVaultARN != r.VaultARN() || !p.LastBackup.Equal(r.Created) {
				t.Fatalf("%+v, want %s of %v", p, r.ARN, r.Created)
			}
		}
		p, err := f.ProtectedResource(ctx, testAccount, testRegion, testFS)
		must(t, err)
		show(p, newest)
		list, next, err := f.ProtectedResources(ctx, testAccount, testRegion, Page{Limit: 1})
		must(t, err)
		show(list[0], newest)
		list, next, err = f.ProtectedResources(ctx, testAccount, testRegion, Page{Limit: 1, Token: next})
		must(t, err)
		if len(list) != 1 || next != "" || list[0].Type != "RDS" {
			t.Fatal(list, next)
		}
		list, _, err = f.ProtectedResourcesByVault(ctx, testAccount, testRegion, "one", Page{Limit: 1})
		must(t, err)
		show(list[0], middle)

		must(t, f.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error { return removePoint(ctx, tx, making) })) // its job failed
		f.deleted(newest)
		p, err = f.ProtectedResource(ctx, testAccount, testRegion, testFS)
		must(t, err)
		show(p, middle)
		f.deleted(middle)
		p, err = f.ProtectedResource(ctx, testAccount, testRegion, testFS)
		must(t, err)
		show(p, old)

		started := f.clock.Now()
		f.clock.Advance(125 * time.Second)
		must(t, f.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error { return recordRestore(ctx, tx, old, started) }))
		p, err = f.ProtectedResource(ctx, testAccount, testRegion, testFS)
		must(t, err)
		if !p.RestoreJobCreated.Equal(started) || !p.RestorePointCreated.Equal(old.Created) || p.RestoreMinutes != 2 {
			t.Fatalf("%+v", p)
		}
		got, err := f.RecoveryPoint(ctx, testAccount, testRegion, "one", old.ARN)
		must(t, err)
		if !got.LastRestored.Equal(f.clock.Now()) {
			t.Fatalf("%+v", got)
		}
		f.deleted(old)
		f.deleted(older)
		_, err = f.ProtectedResource(ctx, testAccount, testRegion, testFS)
		want(t, err, fault.NotFound, "")
		byResource, _, err := f.RecoveryPointsByResource(ctx, testAccount, testRegion, testFS, Page{})
		must(t, err)
		if len(byResource) != 0 {
			t.Fatal(byResource)
		}
	})
}
