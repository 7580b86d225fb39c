package server

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/smithy-go"

	"strongroom/internal/preflight"
)

// ask is the preflight of the scene's copy.
func (s *scene) ask() preflight.Answer {
	s.t.Helper()
	a, err := s.checker.AskCopy(s.t.Context(), prodAccount, "us-east-1", s.point, copiesVault, "")
	check(s.t, err)
	return a
}

// apply makes the change that a condition says is missing: it puts the printed statement, as it is, into the policy that
// is named, with the rights of the account that is named.
func (s *scene) apply(m preflight.Missing) {
	s.t.Helper()
	ctx := s.t.Context()
	s.applied++
	c := map[string]clients{prodAccount: s.prod, copiesAccount: s.dest, firstAccount: s.mgmt}[m.Account]
	kind, target, ok := strings.Cut(m.Policy, " of ")
	if !ok || m.Statement == "" || c.iam == nil {
		s.t.Fatalf("nothing to apply: %+v", m)
	}
	switch {
	case kind == "resource-based policy" && strings.Contains(target, ":backup-vault:"):
		name := target[strings.LastIndex(target, ":")+1:]
		have := ""
		if got, err := c.backup.GetBackupVaultAccessPolicy(ctx, &awsbackup.GetBackupVaultAccessPolicyInput{BackupVaultName: &name}); err == nil {
			have = *got.Policy
		}
		_, err := c.backup.PutBackupVaultAccessPolicy(ctx, &awsbackup.PutBackupVaultAccessPolicyInput{BackupVaultName: &name, Policy: aws.String(s.with(have, m.Statement))})
		check(s.t, err)
	case kind == "resource-based policy" && strings.Contains(target, ":kms:"):
		got, err := c.kms.GetKeyPolicy(ctx, &awskms.GetKeyPolicyInput{KeyId: &target})
		check(s.t, err)
		_, err = c.kms.PutKeyPolicy(ctx, &awskms.PutKeyPolicyInput{KeyId: &target, Policy: aws.String(s.with(*got.Policy, m.Statement))})
		check(s.t, err)
	case kind == "identity-based policy":
		role := target[strings.LastIndex(target, "/")+1:]
		_, err := c.iam.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("preflight" + strconv.Itoa(s.applied)), PolicyDocument: aws.String(policyOf(m.Statement))})
		check(s.t, err)
	case kind == "role trust policy":
		role := target[strings.LastIndex(target, "/")+1:]
		_, err := c.iam.UpdateAssumeRolePolicy(ctx, &awsiam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: aws.String(policyOf(m.Statement))})
		check(s.t, err)
	case kind == "service control policy":
		s.attachSCP("preflight", policyOf(m.Statement), target)
	default:
		s.t.Fatalf("do not know how to change %+v", m)
	}
}

// with adds a statement to a policy; "" is none.
func (s *scene) with(policy, statement string) string {
	s.t.Helper()
	if policy == "" {
		return policyOf(statement)
	}
	var doc map[string]json.RawMessage
	var list []json.RawMessage
	check(s.t, json.Unmarshal([]byte(policy), &doc))
	check(s.t, json.Unmarshal(doc["Statement"], &list))
	raw, err := json.Marshal(append(list, json.RawMessage(statement)))
	check(s.t, err)
	doc["Statement"] = raw
	raw, err = json.Marshal(doc)
	check(s.t, err)
	return string(raw)
}

// attachSCP makes a service control policy and attaches it to an account, unit or root.
func (s *scene) attachSCP(name, text, target string) (id string) {
	s.t.Helper()
	p, err := s.mgmt.org.CreatePolicy(s.t.Context(), &awsorg.CreatePolicyInput{Name: &name, Description: &name, Content: &text, Type: orgtypes.PolicyTypeServiceControlPolicy})
	check(s.t, err)
	_, err = s.mgmt.org.AttachPolicy(s.t.Context(), &awsorg.AttachPolicyInput{PolicyId: p.Policy.PolicySummary.Id, TargetId: &target})
	check(s.t, err)
	return *p.Policy.PolicySummary.Id
}

func (s *scene) detachSCP(id, target string) {
	s.t.Helper()
	_, err := s.mgmt.org.DetachPolicy(s.t.Context(), &awsorg.DetachPolicyInput{PolicyId: &id, TargetId: &target})
	check(s.t, err)
}

// obstacle is one way in which a copy can be forbidden.
type obstacle struct {
	put func(*scene)
	// text are the first words of the message: AWS's.
	text string
	// principal, action and resource must be named; "" where the obstacle has none.
	principal, action, resource string
	// account must be named as the one that can make the change.
	account string
	// clear makes the change that a note asks for; nil applies the printed statements.
	clear func(*scene)
	note  string // what the note must say, where clear is given
}

const (
	roleSession = "arn:aws:sts::111111111111:assumed-role/Backup/AWSBackup-"
	serviceRole = "arn:aws:sts::222222222222:assumed-role/AWSServiceRoleForBackup/"
	vaultRefuse = "Access Denied trying to call AWS Backup service"
	keyRefuse   = "KMS key is either disabled or pending deletion or access to KMS key is denied"
)

func obstacles() map[string]obstacle {
	scp := ""
	return map[string]obstacle{
		"cross-account copies are switched off": {
			put:  func(s *scene) { s.globalSetting("false") },
			text: "Copy job failed. Cross-account copy feature is not enabled for the current organization.", account: firstAccount,
			note: "isCrossAccountBackupEnabled=true", clear: func(s *scene) { s.globalSetting("true") },
		},
		"the vault has no policy": {
			put: func(s *scene) {
				_, err := s.dest.backup.DeleteBackupVaultAccessPolicy(s.t.Context(), &awsbackup.DeleteBackupVaultAccessPolicyInput{BackupVaultName: aws.String("copies")})
				check(s.t, err)
			},
			text: vaultRefuse, principal: roleSession, action: "backup:CopyIntoBackupVault", resource: copiesVault, account: copiesAccount,
		},
		"the vault's policy lets somebody else in": {
			put: func(s *scene) {
				s.vaultPolicy(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":"backup:CopyIntoBackupVault","Resource":"*"}`)
			},
			text: vaultRefuse, principal: roleSession, action: "backup:CopyIntoBackupVault", resource: copiesVault, account: copiesAccount,
		},
		"the vault's policy wants another organization": {
			put: func(s *scene) {
				s.vaultPolicy(`{"Effect":"Allow","Principal":"*","Action":"backup:CopyIntoBackupVault","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-somebodyelse"}}}`)
			},
			text: vaultRefuse, principal: roleSession, action: "backup:CopyIntoBackupVault", resource: copiesVault, account: copiesAccount,
		},
		"the vault's policy denies the role": {
			put: func(s *scene) {
				s.vaultPolicy(`{"Sid":"Quarantine","Effect":"Deny","Principal":{"AWS":"` + prodRole + `"},"Action":"backup:CopyIntoBackupVault","Resource":"*"}`)
			},
			text: vaultRefuse, principal: roleSession, action: "backup:CopyIntoBackupVault", resource: copiesVault, account: copiesAccount,
			note: "remove it or add an exception", clear: func(s *scene) {
				s.vaultPolicy(`{"Effect":"Allow","Principal":{"AWS":"` + prodRole + `"},"Action":"backup:CopyIntoBackupVault","Resource":"*"}`)
			},
		},
		"the source key does not know the destination": {
			put:  func(s *scene) { s.keyPolicy(s.prod, s.srcKey, prodAccount) },
			text: keyRefuse, principal: serviceRole, action: "kms:DescribeKey", resource: "SRCKEY", account: prodAccount,
		},
		"the source key lacks one action": {
			put: func(s *scene) {
				s.keyPolicy(s.prod, s.srcKey, prodAccount, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:root"},"Action":["kms:DescribeKey","kms:Decrypt"],"Resource":"*"}`)
			},
			text: keyRefuse, principal: serviceRole, action: "kms:CreateGrant", resource: "SRCKEY", account: prodAccount,
		},
		"the source key is disabled": {
			put: func(s *scene) {
				_, err := s.prod.kms.DisableKey(s.t.Context(), &awskms.DisableKeyInput{KeyId: &s.srcKey})
				check(s.t, err)
			},
			text: keyRefuse, action: "kms:Decrypt", resource: "SRCKEY", account: prodAccount, note: "enable it again",
			clear: func(s *scene) {
				_, err := s.prod.kms.EnableKey(s.t.Context(), &awskms.EnableKeyInput{KeyId: &s.srcKey})
				check(s.t, err)
			},
		},
		"the destination's key is pending deletion": {
			put: func(s *scene) {
				_, err := s.dest.kms.ScheduleKeyDeletion(s.t.Context(), &awskms.ScheduleKeyDeletionInput{KeyId: &s.dstKey, PendingWindowInDays: aws.Int32(7)})
				check(s.t, err)
			},
			text: keyRefuse, action: "kms:GenerateDataKey", resource: "DSTKEY", account: copiesAccount, note: "cancel its deletion",
			clear: func(s *scene) {
				_, err := s.dest.kms.CancelKeyDeletion(s.t.Context(), &awskms.CancelKeyDeletionInput{KeyId: &s.dstKey})
				check(s.t, err)
				_, err = s.dest.kms.EnableKey(s.t.Context(), &awskms.EnableKeyInput{KeyId: &s.dstKey})
				check(s.t, err)
			},
		},
		"the role does not trust AWS Backup": {
			put: func(s *scene) {
				_, err := s.prod.iam.UpdateAssumeRolePolicy(s.t.Context(), &awsiam.UpdateAssumeRolePolicyInput{RoleName: aws.String("Backup"),
					PolicyDocument: aws.String(strings.ReplaceAll(trustBackup, "backup.amazonaws.com", "ec2.amazonaws.com"))})
				check(s.t, err)
			},
			text: "IAM Role " + prodRole + " cannot be assumed by AWS Backup", principal: "backup.amazonaws.com", action: "sts:AssumeRole", resource: prodRole, account: prodAccount,
		},
		"the role is gone": {
			put: func(s *scene) {
				s.detach(s.prod, "AWSBackupServiceRolePolicyForBackup")
				s.detach(s.prod, "AWSBackupServiceRolePolicyForRestores")
				_, err := s.prod.iam.DeleteRole(s.t.Context(), &awsiam.DeleteRoleInput{RoleName: aws.String("Backup")})
				check(s.t, err)
			},
			text: "IAM Role " + prodRole + " cannot be assumed by AWS Backup", principal: "backup.amazonaws.com", action: "sts:AssumeRole", resource: prodRole, account: prodAccount,
			note: "create the role", clear: func(s *scene) { s.role(s.prod) },
		},
		"the role may not copy": {
			put:  func(s *scene) { s.detach(s.prod, "AWSBackupServiceRolePolicyForBackup") },
			text: vaultRefuse, principal: roleSession, action: "backup:CopyFromBackupVault", resource: "POINT", account: prodAccount,
		},
		"a service control policy forbids the destination": {
			put: func(s *scene) {
				scp = s.attachSCP("only-within", policyOf(`{"Sid":"OnlyWithin","Effect":"Deny","Action":"backup:CopyFromBackupVault","Resource":"*","Condition":{"ForAllValues:ArnNotLike":{"backup:CopyTargets":"arn:aws:backup:*:333333333333:backup-vault:*"}}}`), prodAccount)
			},
			text: vaultRefuse, principal: roleSession, action: "backup:CopyFromBackupVault", resource: "POINT", account: firstAccount,
			note: `"OnlyWithin"`, clear: func(s *scene) { s.detachSCP(scp, prodAccount) },
		},
		"no service control policy allows it": {
			put: func(s *scene) {
				s.attachSCP("all-but-backup", policyOf(`{"Effect":"Allow","NotAction":"backup:CopyIntoBackupVault","Resource":"*"}`), prodAccount)
				s.detachSCP("p-FullAWSAccess", prodAccount)
			},
			text: vaultRefuse, principal: roleSession, action: "backup:CopyIntoBackupVault", resource: copiesVault, account: firstAccount,
		},
		"the vault's lock wants a shorter retention": {
			put: func(s *scene) {
				_, err := s.dest.backup.PutBackupVaultLockConfiguration(s.t.Context(), &awsbackup.PutBackupVaultLockConfigurationInput{BackupVaultName: aws.String("copies"), MaxRetentionDays: aws.Int64(30)})
				check(s.t, err)
			},
			text:    "Copy job failed. The retention specified in the job is not within the range specified for the target Backup Vault.",
			account: copiesAccount, note: "DeleteAfterDays", clear: func(s *scene) {
				_, err := s.dest.backup.DeleteBackupVaultLockConfiguration(s.t.Context(), &awsbackup.DeleteBackupVaultLockConfigurationInput{BackupVaultName: aws.String("copies")})
				check(s.t, err)
			},
		},
	}
}

// The bar: whatever forbids a copy, the preflight and the failed job say so in the same words, name principal, action and
// resource and what is missing in which policy; and when exactly that has been added, the preflight is content and the
// copy succeeds.
func TestWhatForbidsACopyIsNamedAndTheStatementThatIsPrintedCuresIt(t *testing.T) {
	t.Parallel()
	for name, o := range obstacles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if a := s.ask(); !a.Allowed() {
				t.Fatalf("not allowed from the start: %+v", failing(a))
			}
			o.put(s)
			o.resource = strings.NewReplacer("SRCKEY", s.srcKey, "DSTKEY", s.dstKey, "POINT", s.point).Replace(o.resource)
			bad := failing(s.ask())
			if len(bad) == 0 {
				t.Fatal("the preflight sees nothing")
			}
			o.named(t, "the preflight", bad[0].Message)
			if len(bad[0].Missing) == 0 || !slices.ContainsFunc(bad[0].Missing, func(m preflight.Missing) bool { return m.Account == o.account }) {
				t.Fatalf("account %s is not told what to change: %+v", o.account, bad[0].Missing)
			}
			said := s.refusal()
			o.named(t, "the job", said)
			if o.clear == nil {
				for _, c := range bad {
					for _, m := range c.Missing {
						s.apply(m)
						if c.Name == bad[0].Name && !strings.Contains(said, m.Statement) {
							t.Errorf("the job does not print the statement %s: %s", m.Statement, said)
						}
					}
				}
			} else {
				if !slices.ContainsFunc(bad[0].Missing, func(m preflight.Missing) bool { return strings.Contains(m.Note, o.note) }) {
					t.Errorf("no note says %q: %+v", o.note, bad[0].Missing)
				}
				o.clear(s)
			}
			if a := s.ask(); !a.Allowed() {
				t.Fatalf("still not allowed: %+v", failing(a))
			}
			if j := s.copy(nil); j.State != backuptypes.CopyJobStateCompleted {
				t.Errorf("the copy ended %s: %s", j.State, aws.ToString(j.StatusMessage))
			}
		})
	}
}

// refusal is what a copy says when it is tried: the failed job, or the call where it does not get as far as a job.
func (s *scene) refusal() string {
	s.t.Helper()
	j, err := s.startCopy(nil)
	if code(err) == "InvalidParameterValueException" {
		var e smithy.APIError
		errors.As(err, &e)
		return e.ErrorMessage()
	}
	check(s.t, err)
	d := s.ended(j)
	if d.State != backuptypes.CopyJobStateFailed {
		s.t.Fatalf("the copy ended %s", d.State)
	}
	return aws.ToString(d.StatusMessage)
}

func (o obstacle) named(t *testing.T, who, message string) {
	t.Helper()
	if !strings.HasPrefix(message, o.text) {
		t.Errorf("%s begins otherwise: %s", who, message)
	}
	for _, want := range []string{o.principal, o.action, o.resource} {
		if !strings.Contains(message, want) {
			t.Errorf("%s does not name %s: %s", who, want, message)
		}
	}
}

func failing(a preflight.Answer) (bad []preflight.Condition) {
	for _, c := range a.Conditions {
		if !c.OK {
			bad = append(bad, c)
		}
	}
	return bad
}
