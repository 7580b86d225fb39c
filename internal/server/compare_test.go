package server

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
)

// A date that was made earlier behind the node's back deletes nothing; one that was changed through the API does.
func TestADateCountsOnlyIfTheVaultsStorageHasItToo(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	prod, _ := n.organization(t)
	roleARN := role(t, prod, "all")
	point := n.protect(t, prod, roleARN, protected)
	edit("UPDATE recovery_point SET delete_at = 1")(t, &estate{dir: n.data.path}, nil)
	check(t, n.runner.Expire(t.Context()))
	n.work(t, backup.DeleteKind)
	describe := func() *awsbackup.DescribeRecoveryPointOutput {
		t.Helper()
		d, err := prod.backup.DescribeRecoveryPoint(t.Context(), &awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("Default"), RecoveryPointArn: &point})
		check(t, err)
		return d
	}
	if d := describe(); d.Status != backuptypes.RecoveryPointStatusExpired || !strings.Contains(aws.ToString(d.StatusMessage), "earlier than that of the vault's storage") {
		t.Errorf("%s: %s", d.Status, aws.ToString(d.StatusMessage))
	}
	n.compare(t.Context())
	if d := describe(); d.CalculatedLifecycle != nil && d.CalculatedLifecycle.DeleteAt != nil {
		t.Errorf("it still ends at %v", d.CalculatedLifecycle.DeleteAt)
	}
	edit("UPDATE recovery_point SET status = 'COMPLETED', status_message = ''")(t, &estate{dir: n.data.path}, nil)
	out, err := prod.backup.UpdateRecoveryPointLifecycle(t.Context(), &awsbackup.UpdateRecoveryPointLifecycleInput{BackupVaultName: aws.String("Default"), RecoveryPointArn: &point,
		Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(7)}})
	check(t, err)
	v, err := n.backup.Vault(t.Context(), production, "us-east-1", "Default")
	check(t, err)
	r, err := n.runner.Vaults.Maintain(t.Context(), "us-east-1", v.Repository)
	check(t, err)
	defer r.Close()
	commits, err := r.List(t.Context())
	check(t, err)
	if want := out.CalculatedLifecycle.DeleteAt; len(commits) != 1 || !commits[0].RetainUntil.Truncate(time.Millisecond).Equal(*want) {
		t.Errorf("storage keeps it until %v, the catalog until %v", commits[0].RetainUntil, want)
	}
	// And it stays so when the two are compared.
	n.compare(t.Context())
	if d := describe(); !d.CalculatedLifecycle.DeleteAt.Equal(*out.CalculatedLifecycle.DeleteAt) {
		t.Errorf("a shorter date that was asked for became %v", d.CalculatedLifecycle.DeleteAt)
	}
}

// What the catalog claims and storage does not hold is named, cannot be used, and is not removed.
func TestClaimsThatStorageDoesNotBearOutAreMarked(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 3)
	edit("INSERT INTO recovery_point SELECT arn || 'x', account, region, vault, 'never-was', receipt, source_vault_arn, source_arn, source_account, resource_arn, resource_type, resource_name, plan_id, created_by, role_arn, status, status_message, created, initiated, completed, size_bytes, key_arn, lifecycle, cold_at, delete_at, storage_class, restore_metadata, last_restored, parent_arn, continuous, 0 FROM recovery_point WHERE point = 'prod-000001'")(t, e, nil)
	s, err := Open(t.Context(), e.config())
	check(t, err)
	defer s.Close()
	ctx := t.Context()
	id := repositoryOf(t, s, "111111111111", "prod")
	r, err := s.runner.Vaults.Maintain(ctx, "us-east-1", id)
	check(t, err)
	check(t, r.Forget(ctx, "prod-000002", e.points[backup.PointARN("111111111111", "us-east-1", "prod-000002")].created))
	check(t, r.Close())
	check(t, os.Remove(filepath.Join(e.dir, "regions", "us-east-1", "vaults", id, "rps", "prod-000000")))
	for range 2 { // it stays so
		report, err := s.reconcile(ctx, nil, false)
		check(t, err)
		if _, added, _, missing, _ := report.Sum(); added != 0 || missing != 3 || report.Whole() {
			t.Errorf("%d added, %d missing", added, missing)
		}
	}
	for arn, says := range map[string]string{
		backup.PointARN("111111111111", "us-east-1", "prod-000000"):       "damaged or lost",
		backup.PointARN("111111111111", "us-east-1", "prod-000002"):       "deleted from there",
		backup.PointARN("111111111111", "us-east-1", "prod-000001") + "x": "never was in it",
	} {
		p, err := s.backup.RecoveryPoint(ctx, "111111111111", "us-east-1", "prod", arn)
		check(t, err)
		if p.Usable() || p.Status != backup.PointStopped || !strings.Contains(p.StatusMessage, says) {
			t.Errorf("%s: %s: %s", arn, p.Status, p.StatusMessage)
		}
	}
	if p, err := s.backup.RecoveryPoint(ctx, "111111111111", "us-east-1", "prod", backup.PointARN("111111111111", "us-east-1", "prod-000001")); err != nil || !p.Usable() {
		t.Errorf("the one that is there: %+v, %v", p, err)
	}
}

// Anybody can make a vault that the recovery key opens. It may be entered beside what is there, and take nothing from it.
func TestAVaultThatOnlyTheRecoveryKeyVouchesForTakesNothingOver(t *testing.T) {
	t.Parallel()
	e, stranger := newEstate(t, 2), newEstate(t, 2)
	stranger.id = e.id
	// The same account, names and ARNs, wrapped for the same recipient.
	s, err := Open(t.Context(), stranger.config())
	check(t, err)
	stranger.vault(t, s, "111111111111", "extra", 1, false, nil)
	extra := repositoryOf(t, s, "111111111111", "extra")
	check(t, s.Close())
	check(t, os.CopyFS(filepath.Join(e.dir, "regions", "us-east-1", "vaults", extra), os.DirFS(filepath.Join(stranger.dir, "regions", "us-east-1", "vaults", extra))))
	// The catalog already knows the stranger's recovery point, in the vault of its own.
	edit("UPDATE recovery_point SET arn = 'arn:aws:backup:us-east-1:111111111111:recovery-point:extra-000000' WHERE point = 'prod-000000'")(t, e, rand.New(rand.NewPCG(1, 1)))
	s, err = Open(t.Context(), e.config())
	check(t, err)
	report, err := s.reconcile(t.Context(), nil, false)
	check(t, err)
	if report.Whole() {
		t.Error("a vault of another node was taken without a key")
	}
	check(t, s.Close())
	done, err := RebuildCatalog(t.Context(), e.config(), RebuildOptions{Secret: e.secret(t)})
	check(t, err)
	s, err = Open(t.Context(), e.config())
	check(t, err)
	defer s.Close()
	p, err := s.backup.RecoveryPoint(t.Context(), "111111111111", "us-east-1", "prod", "arn:aws:backup:us-east-1:111111111111:recovery-point:extra-000000")
	if err != nil || p.ID != "prod-000000" {
		t.Errorf("it was taken over: %+v, %v; %+v", p, err, done.Vaults)
	}
	if _, err := s.backup.Vault(t.Context(), "111111111111", "us-east-1", "extra"); err != nil {
		t.Errorf("the vault was not entered: %v", err)
	}
}
