package policy_test

import (
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

// The policies of this file are the ones that administrators use: a guard for member accounts, its twin for keys, the
// vault policy of an isolated account, and the conditioned statements of AWS's managed policies.

const guardStatements = `{'Sid':'NoLeave','Effect':'Deny','Action':'organizations:LeaveOrganization','Resource':'*'},
{'Sid':'KeepBackups','Effect':'Deny','Action':['backup:DeleteRecoveryPoint','backup:DisassociateRecoveryPoint','backup:UpdateRecoveryPointLifecycle','backup:DeleteBackupVault','backup:PutBackupVaultAccessPolicy',
 'backup:DeleteBackupVaultAccessPolicy','backup:DeleteBackupVaultLockConfiguration','backup:DeleteBackupPlan','backup:UpdateBackupPlan','backup:StopBackupJob'],'Resource':'*',
 'Condition':{'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}},
{'Sid':'KeepKeys','Effect':'Deny','Action':['kms:ScheduleKeyDeletion','kms:DisableKey'],'Resource':'*','Condition':{'StringEquals':{'aws:ResourceTag/backup-key':'true'},'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}},
{'Sid':'KeepRole','Effect':'Deny','Action':['iam:DeleteRole','iam:DetachRolePolicy','iam:PutRolePolicy'],'Resource':'arn:aws:iam::*:role/BackupRole','Condition':{'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}}`

// TestMemberGuard: the guard stops everyone but the backup administrators, the root user included.
func TestMemberGuard(t *testing.T) {
	t.Parallel()
	admin := role
	admin.RoleARN, admin.ARN, admin.Name = "arn:aws:iam::111111111111:role/BackupAdmin", "arn:aws:sts::111111111111:assumed-role/BackupAdmin/s", "BackupAdmin"
	fake := role
	fake.RoleARN = "arn:aws:iam::111111111111:role/x/BackupAdmin"
	rp := "arn:aws:backup:us-east-1:111111111111:recovery-point:ab12"
	backupRole := "arn:aws:iam::111111111111:role/BackupRole"
	key := map[string]string{"aws:ResourceTag/backup-key": "true"}
	for _, c := range []struct {
		by     access.Principal
		do, on string
		ctx    map[string]string
		want   bool
		sid    string
	}{
		{role, "backup:DeleteRecoveryPoint", rp, nil, false, "KeepBackups"},
		{root, "backup:DeleteRecoveryPoint", rp, nil, false, "KeepBackups"},
		{fake, "backup:DeleteRecoveryPoint", rp, nil, false, "KeepBackups"},
		{admin, "backup:DeleteRecoveryPoint", rp, nil, true, ""},
		{linked, "backup:DeleteRecoveryPoint", rp, nil, true, ""},
		{role, "backup:DescribeRecoveryPoint", rp, nil, true, ""},
		{admin, "organizations:LeaveOrganization", "*", nil, false, "NoLeave"},
		{role, "kms:DisableKey", keyARN, key, false, "KeepKeys"},
		{role, "kms:DisableKey", keyARN, nil, true, ""},
		{role, "iam:DeleteRole", backupRole, nil, false, "KeepRole"},
		{role, "iam:DeleteRole", backupRole + "2", nil, true, ""},
	} {
		ctx := map[string]string{"aws:PrincipalArn": c.by.PolicyARN()}
		for k, v := range c.ctx {
			ctx[k] = v
		}
		d := policy.Evaluate(ask{by: c.by, do: c.do, on: c.on, ctx: ctx, id: s(allowAll), scp: [][]string{{allowAll, guardStatements}, {allowAll}}}.request(t))
		if d.Allowed != c.want || !c.want && d.Deciding[0].Sid != c.sid {
			t.Errorf("%s %s: allowed = %v\n%s", c.by.ARN, c.do, d.Allowed, d.Explain())
		}
	}
}

// TestKeyGuard: a resource control policy stops principals of other accounts, too, but not service-linked roles.
func TestKeyGuard(t *testing.T) {
	t.Parallel()
	rcp := s(`{'Effect':'Deny','Principal':'*','Action':['kms:ScheduleKeyDeletion','kms:DisableKey'],'Resource':'*','Condition':{'ArnNotLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/BackupAdmin'}}}`)
	for _, c := range []struct {
		by   access.Principal
		want policy.Reason
	}{{role, policy.ExplicitDeny}, {user, policy.ExplicitDeny}, {root, policy.ExplicitDeny}, {linked, policy.Allow}} {
		d := policy.Evaluate(ask{by: c.by, do: "kms:DisableKey", on: keyARN, kind: policy.KMSKey, ctx: map[string]string{"aws:PrincipalArn": c.by.PolicyARN()}, id: s(allowAll), res: s(keyRoot), rcp: rcp}.request(t))
		if d.Reason != c.want {
			t.Errorf("%s: %s", c.by.ARN, d.Explain())
		}
	}
}

// TestIsolatedVault: the destination vault lets the named role of the organization in, nobody delete, and nobody else in.
func TestIsolatedVault(t *testing.T) {
	t.Parallel()
	vault := s(`{'Sid':'In','Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111111111111:root'},'Action':'backup:CopyIntoBackupVault','Resource':'*','Condition':{'StringEquals':{'aws:PrincipalOrgID':'o-a1'},'ArnLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/ops/Copy'}}}`,
		`{'Sid':'Keep','Effect':'Deny','Principal':'*','Action':['backup:DeleteRecoveryPoint','backup:PutBackupVaultAccessPolicy','backup:StartRestoreJob'],'Resource':'*'}`)
	owner := access.Principal{Kind: access.Root, Account: acctB, ARN: "arn:aws:iam::222222222222:root", ID: acctB}
	in := func(p access.Principal) map[string]string {
		return map[string]string{"aws:PrincipalOrgID": "o-a1", "aws:PrincipalArn": p.PolicyARN()}
	}
	other := role
	other.RoleARN = "arn:aws:iam::111111111111:role/Other"
	for _, c := range []struct {
		by   access.Principal
		do   string
		ctx  map[string]string
		want policy.Reason
	}{
		{role, copyInto, in(role), policy.Allow},
		{other, copyInto, in(other), policy.ImplicitDeny},
		{role, copyInto, map[string]string{"aws:PrincipalOrgID": "o-b", "aws:PrincipalArn": role.RoleARN}, policy.ImplicitDeny},
		{role, copyInto, map[string]string{"aws:PrincipalArn": role.RoleARN}, policy.ImplicitDeny},
		{role, "backup:DescribeBackupVault", in(role), policy.ImplicitDeny},
		{owner, "backup:DescribeBackupVault", in(owner), policy.Allow},
		{owner, "backup:DeleteRecoveryPoint", in(owner), policy.ExplicitDeny},
		{owner, "backup:PutBackupVaultAccessPolicy", in(owner), policy.ExplicitDeny},
	} {
		d := policy.Evaluate(ask{by: c.by, do: c.do, on: vaultB, owner: acctB, kind: policy.Vault, ctx: c.ctx, id: s(allowAll), res: vault}.request(t))
		if d.Reason != c.want {
			t.Errorf("%s %s: %s", c.by.ARN, c.do, d.Explain())
		}
	}
}

// TestManagedPolicyConditions: the statements of the managed backup policies with their usual conditions.
func TestManagedPolicyConditions(t *testing.T) {
	t.Parallel()
	id := s(`{'Effect':'Allow','Action':'kms:CreateGrant','Resource':'*','Condition':{'Bool':{'kms:GrantIsForAWSResource':true},'ForAnyValue:StringEquals':{'kms:EncryptionContextKeys':'aws:backup:backup-vault'},'StringLike':{'kms:ViaService':'backup.*.amazonaws.com'}}}`,
		`{'Effect':'Allow','Action':'iam:PassRole','Resource':['arn:aws:iam::*:role/*AwsBackup*','arn:aws:iam::*:role/*AWSBackup*'],'Condition':{'StringLike':{'iam:PassedToService':['backup.amazonaws.com','restore-testing.backup.amazonaws.com']}}}`,
		`{'Effect':'Allow','Action':['ec2:Delete*'],'Resource':'*','Condition':{'ForAnyValue:StringEquals':{'aws:CalledVia':['backup.amazonaws.com']}}}`)
	grant := map[string]string{"kms:GrantIsForAWSResource": "true", "kms:ViaService": "backup.eu-west-1.amazonaws.com"}
	keys := map[string][]string{"kms:EncryptionContextKeys": {"other", "aws:backup:backup-vault"}}
	for _, c := range []struct {
		name string
		ask
		want bool
	}{
		{"grant by the service", ask{by: user, do: "kms:CreateGrant", on: keyARN, kind: policy.KMSKey, ctx: grant, multi: keys, id: id, res: s(keyRoot)}, true},
		{"grant without the vault's context", ask{by: user, do: "kms:CreateGrant", on: keyARN, kind: policy.KMSKey, ctx: grant, id: id, res: s(keyRoot)}, false},
		{"grant by hand", ask{by: user, do: "kms:CreateGrant", on: keyARN, kind: policy.KMSKey, multi: keys, id: id, res: s(keyRoot)}, false},
		{"pass a backup role", ask{by: user, do: "iam:PassRole", on: "arn:aws:iam::111111111111:role/service-role/AWSBackupDefault", ctx: map[string]string{"iam:PassedToService": "backup.amazonaws.com"}, id: id}, true},
		{"pass another role", ask{by: user, do: "iam:PassRole", on: "arn:aws:iam::111111111111:role/Admin", ctx: map[string]string{"iam:PassedToService": "backup.amazonaws.com"}, id: id}, false},
		{"pass to another service", ask{by: user, do: "iam:PassRole", on: "arn:aws:iam::111111111111:role/AWSBackup", ctx: map[string]string{"iam:PassedToService": "ec2.amazonaws.com"}, id: id}, false},
		{"delete via backup", ask{by: user, do: "ec2:DeleteSnapshot", on: "arn:aws:ec2:us-east-1::snapshot/s", multi: map[string][]string{"aws:CalledVia": {"backup.amazonaws.com"}}, id: id}, true},
		{"delete by hand", ask{by: user, do: "ec2:DeleteSnapshot", on: "arn:aws:ec2:us-east-1::snapshot/s", id: id}, false},
	} {
		if d := policy.Evaluate(c.request(t)); d.Allowed != c.want {
			t.Errorf("%s: %s", c.name, d.Explain())
		}
	}
}

// TestConfusedDeputy: a role trusts the backup service only for its own account's vaults.
func TestConfusedDeputy(t *testing.T) {
	t.Parallel()
	trust := s(`{'Effect':'Allow','Principal':{'Service':'backup.amazonaws.com'},'Action':'sts:AssumeRole','Condition':{'StringEquals':{'aws:SourceAccount':'111111111111'},'ArnLike':{'aws:SourceArn':'arn:aws:backup:*:111111111111:*'}}}`)
	for account, want := range map[string]bool{acctA: true, acctB: false, "": false} {
		ctx := map[string]string{}
		if account != "" {
			ctx["aws:SourceAccount"], ctx["aws:SourceArn"] = account, "arn:aws:backup:us-east-1:"+account+":backup-vault:v"
		}
		if d := policy.Evaluate(ask{by: service, do: "sts:AssumeRole", on: roleARN, kind: policy.RoleTrust, ctx: ctx, res: trust}.request(t)); d.Allowed != want {
			t.Errorf("for %q: %s", account, d.Explain())
		}
	}
}
