package backup

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/fault"
)

var here = access.Env{Region: testRegion}

func TestCreateVault(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		const key = "arn:aws:kms:us-east-1:111111111111:key/own"
		v, err := f.CreateVault(ctx, rootOf(testAccount), here, VaultSpec{Name: "main", KeyARN: key, CreatorRequestID: "r1", Tags: map[string]string{"a": "b"}})
		must(t, err)
		if v.ARN() != "arn:aws:backup:us-east-1:111111111111:backup-vault:main" || v.ServiceKey || v.KeyGrant == "" || v.Repository == "" || !v.Created.Equal(f.clock.Now()) {
			t.Fatalf("%+v", v)
		}
		tags, _, err := f.Tags(ctx, testAccount, testRegion, v.ARN(), Page{})
		must(t, err)
		if tags["a"] != "b" {
			t.Fatalf("tags %v", tags)
		}

		again, err := f.CreateVault(ctx, rootOf(testAccount), here, VaultSpec{Name: "main", KeyARN: key, CreatorRequestID: "r1"})
		must(t, err)
		if again.Repository != v.Repository {
			t.Fatal("the repeated request made another vault")
		}
		for _, spec := range []VaultSpec{
			{Name: "main", KeyARN: key, CreatorRequestID: "r2"},
			{Name: "main", KeyARN: key},
			{Name: "main", CreatorRequestID: "r1"}, // another key
		} {
			_, err := f.CreateVault(ctx, rootOf(testAccount), here, spec)
			want(t, err, fault.Exists, "")
			if d := fault.As(err).Detail; d["Arn"] != v.ARN() || d["CreatorRequestId"] != "r1" || fault.As(err).Msg != "Backup vault with the same name already exists" {
				t.Fatalf("%v %v", err, d)
			}
		}
		if f.keys.count() != 1 {
			t.Fatalf("%d grants after refused creations", f.keys.count())
		}
		for _, name := range []string{"", "x", "no spaces", "slash/y", "ümlaut", strings.Repeat("n", 51)} {
			_, err := f.CreateVault(ctx, rootOf(testAccount), here, VaultSpec{Name: name})
			want(t, err, fault.Invalid, "")
		}
		for _, bad := range []string{"alias/aws/backup", "arn:aws:kms:us-east-1:111111111111:alias/x", "arn:aws:s3:::bucket"} {
			_, err := f.CreateVault(ctx, rootOf(testAccount), here, VaultSpec{Name: "other", KeyARN: bad})
			want(t, err, fault.Invalid, "")
		}
		// The same name elsewhere is another vault.
		for _, at := range []struct{ account, region string }{{testOther, testRegion}, {testAccount, "eu-west-1"}} {
			o, err := f.CreateVault(ctx, rootOf(at.account), access.Env{Region: at.region}, VaultSpec{Name: "main"})
			must(t, err)
			if o.Repository == v.Repository || !o.ServiceKey {
				t.Fatalf("%+v", o)
			}
		}
	})
}

func TestVaultIsNotMadeWhenItsKeyIsRefused(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		f.keys.refuse = fault.New(fault.NotFound, "no such key")
		_, err := f.CreateVault(t.Context(), rootOf(testAccount), here, VaultSpec{Name: "main", KeyARN: "arn:aws:kms:us-east-1:111111111111:key/none"})
		want(t, err, fault.Invalid, "")
		_, err = f.Vault(t.Context(), testAccount, testRegion, "main")
		want(t, err, fault.Denied, "Vault")
	})
}

func TestVaultLimitIsPerAccountAndRegionAndLeavesNoGrant(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		for i := range maxVaults {
			f.vault(fmt.Sprintf("v%03d", i))
		}
		_, err := f.CreateVault(t.Context(), rootOf(testAccount), here, VaultSpec{Name: "more"})
		want(t, err, fault.Limit, "")
		if n := f.keys.count(); n != maxVaults {
			t.Fatalf("%d grants for %d vaults", n, maxVaults)
		}
		_, err = f.CreateVault(t.Context(), rootOf(testOther), here, VaultSpec{Name: "more"})
		must(t, err)
	})
}

func TestOneOfManyConcurrentCreationsWins(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = f.CreateVault(context.Background(), rootOf(testAccount), here, VaultSpec{Name: "main", CreatorRequestID: fmt.Sprint(i)})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				want(t, err, fault.Exists, "")
			}
		}
		v, err := f.Vault(t.Context(), testAccount, testRegion, "main")
		must(t, err)
		f.keys.mu.Lock()
		defer f.keys.mu.Unlock()
		if won != 1 || f.keys.grants[v.KeyARN+v.ARN()] != v.KeyGrant {
			t.Fatalf("%d won; the vault's grant is %q, the key has %v", won, v.KeyGrant, f.keys.grants)
		}
	})
}

func TestDefaultVaultIsMadeWhenFirstNamed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		_, _, err := f.RecoveryPoints(ctx, testAccount, testRegion, "default", PointFilter{}, Page{}) // names are case-sensitive
		want(t, err, fault.Denied, "Vault")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := f.ensureDefaultVault(context.Background(), testAccount, testRegion, DefaultVault); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		v, err := f.Vault(ctx, testAccount, testRegion, DefaultVault)
		must(t, err)
		if !v.ServiceKey || f.keys.count() != 1 {
			t.Fatalf("%+v, %d grants", v, f.keys.count())
		}
		must(t, f.DeleteVault(ctx, testAccount, testRegion, DefaultVault))
		want(t, f.DeleteVault(ctx, testAccount, testRegion, DefaultVault), fault.Denied, "Vault") // deleting does not make it
		must(t, f.LockVault(ctx, testOther, testRegion, DefaultVault, LockSpec{}))                // changing does
	})
}

func TestMissingVaultLooksLikeAForeignOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		for name, call := range map[string]func() error{
			"describe":      func() error { _, err := f.Vault(ctx, testOther, testRegion, "main"); return err },
			"delete":        func() error { return f.DeleteVault(ctx, testOther, testRegion, "main") },
			"policy":        func() error { _, err := f.VaultPolicy(ctx, testOther, testRegion, "main"); return err },
			"notifications": func() error { _, err := f.VaultNotifications(ctx, testOther, testRegion, "main"); return err },
			"points": func() error {
				_, _, err := f.RecoveryPoints(ctx, testOther, testRegion, "main", PointFilter{}, Page{})
				return err
			},
			"resources": func() error {
				_, _, err := f.ProtectedResourcesByVault(ctx, testOther, testRegion, "main", Page{})
				return err
			},
			"point": func() error {
				_, err := f.RecoveryPoint(ctx, testOther, testRegion, "main", "arn:aws:backup:us-east-1:222222222222:recovery-point:x")
				return err
			},
			"delete point": func() error {
				return f.DeleteRecoveryPoint(ctx, testOther, testRegion, "main", "arn:aws:backup:us-east-1:222222222222:recovery-point:x")
			},
		} {
			err := call()
			if e := fault.As(err); e == nil || e.Kind != fault.Denied || e.Msg != "Insufficient privileges to perform this action." {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, err := range map[string]error{
			"lock":   f.LockVault(ctx, testOther, testRegion, "main", LockSpec{}),
			"unlock": f.UnlockVault(ctx, testOther, testRegion, "main"),
			"policy": f.DeleteVaultPolicy(ctx, testOther, testRegion, "main"),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestDeleteVault(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.vault("main")
		r := f.point("main", nil)
		err := f.DeleteVault(ctx, testAccount, testRegion, "main")
		want(t, err, fault.State, "ERROR_9101")
		if fault.As(err).Msg != "Backup vault cannot be deleted because it contains recovery points." {
			t.Fatal(err)
		}
		f.deleted(r)
		// Even an immutable lock does not keep an empty vault.
		must(t, f.LockVault(ctx, testAccount, testRegion, "main", LockSpec{ChangeableForDays: days(3)}))
		f.clock.Advance(4 * day)
		must(t, f.DeleteVault(ctx, testAccount, testRegion, "main"))
		if f.keys.count() != 0 {
			t.Fatal("the grant outlived the vault")
		}
		list, err := f.RetiredRepositories(ctx)
		must(t, err)
		if len(list) != 1 || list[0].Repository != v.Repository || list[0].KeyGrant != v.KeyGrant {
			t.Fatalf("%+v", list)
		}
		must(t, f.ForgetRepository(ctx, v.Repository))
		again := f.vault("main")
		if again.Repository == v.Repository || again.Lock.Locked || again.Policy != "" {
			t.Fatalf("%+v inherited from the deleted vault", again)
		}
		if tags, _, err := f.Tags(ctx, testAccount, testRegion, again.ARN(), Page{}); err != nil || len(tags) != 0 {
			t.Fatal(tags, err)
		}
	})
}

func TestGrantThatCouldNotBeReleasedPassesToTheNextVaultOfTheName(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		old := f.vault("main")
		must(t, f.DeleteVault(t.Context(), testAccount, testRegion, "main"))
		f.keys.grants[old.KeyARN+old.ARN()] = old.KeyGrant // as if the release had failed
		v := f.vault("main")
		list, err := f.RetiredRepositories(t.Context())
		must(t, err)
		if v.KeyGrant != old.KeyGrant || len(list) != 1 || list[0].KeyGrant != "" {
			t.Fatalf("the new vault's grant %s is still to be retired: %+v", v.KeyGrant, list)
		}
	})
}

func TestVaultPolicyIsParsedStrictlyAndGuardsItsRecoveryPoints(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.vault("main")
		r := f.point("main", nil)
		_, err := f.VaultPolicy(ctx, testAccount, testRegion, "main")
		want(t, err, fault.NotFound, "")
		for _, bad := range []string{
			"{", "{}", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:*","Resource":"*"}]}`,
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"backup:CopyIntoBackupVault","Resource":"*"}]}`,
		} {
			if err := f.PutVaultPolicy(ctx, testAccount, testRegion, "main", bad); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		want(t, f.PutVaultPolicy(ctx, testAccount, testRegion, "main", ""), fault.Missing, "")
		const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteRecoveryPoint","Resource":"*"}]}`
		must(t, f.PutVaultPolicy(ctx, testAccount, testRegion, "main", policy))
		got, err := f.VaultPolicy(ctx, testAccount, testRegion, "main")
		must(t, err)
		if got.Policy != policy {
			t.Fatalf("policy came back as %s", got.Policy)
		}
		for _, name := range []string{v.ARN(), r.ARN} {
			g, err := f.Guard(ctx, name)
			must(t, err)
			if !g.Exists || g.Account != testAccount || g.VaultARN != v.ARN() || g.Policy != policy {
				t.Fatalf("%s: %+v", name, g)
			}
		}
		if g, err := f.Guard(ctx, r.ARN); err != nil || g.Tags["from"] != "test" {
			t.Fatal(g, err)
		}
		for _, name := range []string{"", "x", "arn:aws:backup:us-east-1:111111111111:backup-vault:none", VaultARN(testOther, testRegion, "main"), PointARN(testAccount, testRegion, "x")} {
			if g, err := f.Guard(ctx, name); err != nil || g.Exists {
				t.Fatalf("%s: %+v %v", name, g, err)
			}
		}
		must(t, f.DeleteVaultPolicy(ctx, testAccount, testRegion, "main"))
		must(t, f.DeleteVaultPolicy(ctx, testAccount, testRegion, "main"))
		_, err = f.VaultPolicy(ctx, testAccount, testRegion, "main")
		want(t, err, fault.NotFound, "")
	})
}

func TestNotifications(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.vault("main")
		const topic = "arn:aws:sns:us-east-1:111111111111:backups"
		_, err := f.VaultNotifications(ctx, testAccount, testRegion, "main")
		want(t, err, fault.NotFound, "")
		want(t, f.PutNotifications(ctx, testAccount, testRegion, "main", Notifications{topic, nil}), fault.Missing, "")
		want(t, f.PutNotifications(ctx, testAccount, testRegion, "main", Notifications{topic, []string{"BACKUP_JOB_EXPLODED"}}), fault.Invalid, "")
		want(t, f.PutNotifications(ctx, testAccount, testRegion, "main", Notifications{"topic", []string{"BACKUP_JOB_FAILED"}}), fault.Invalid, "")
		must(t, f.PutNotifications(ctx, testAccount, testRegion, "main", Notifications{topic, []string{"COPY_JOB_FAILED", "BACKUP_JOB_FAILED", "COPY_JOB_FAILED"}}))
		v, err := f.VaultNotifications(ctx, testAccount, testRegion, "main")
		must(t, err)
		if v.Notifications.TopicARN != topic || fmt.Sprint(v.Notifications.Events) != "[BACKUP_JOB_FAILED COPY_JOB_FAILED]" {
			t.Fatalf("%+v", v.Notifications)
		}
		must(t, f.DeleteNotifications(ctx, testAccount, testRegion, "main"))
		_, err = f.VaultNotifications(ctx, testAccount, testRegion, "main")
		want(t, err, fault.NotFound, "")
	})
}

func FuzzParseVaultARN(f *testing.F) {
	for _, s := range []string{"", "arn:aws:backup:us-east-1:111111111111:backup-vault:main", "arn:aws:backup:us-east-1:111111111111:backup-vault:", "arn:aws:backup::111111111111:backup-vault:x", "arn:aws:s3:::b", "arn:aws-cn:backup:us-east-1:111111111111:backup-vault:main"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		account, region, name, ok := ParseVaultARN(s)
		if a, r, n, again := ParseVaultARN(VaultARN(account, region, name)); ok && (!again || a != account || r != region || n != name || VaultARN(account, region, name) != s) {
			t.Fatalf("%q does not come back", s)
		}
		if ok && (account == "" || region == "" || name == "") {
			t.Fatalf("%q has empty parts", s)
		}
	})
}
