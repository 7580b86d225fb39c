package preflight

import (
	"context"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
)

// keys asks about the keys of both vaults. The data is read from the source under its vault's grant; across accounts the
// destination's service-linked role must be let in by the source key's policy as well, because it is the destination that
// moves and re-encrypts the data.
func (k *Checker) keys(ctx context.Context, b *list, p Path, env access.Env) {
	b.add(k.keyUsable(ctx, "the source vault's key is usable", p.Source))
	k.check(ctx, b, "the backup service may read with the source vault's key", ServicePrincipal(), env,
		KeyDenied(p.Source.KeyARN, "kms:Decrypt"), KMSError, KeyCheck("kms:Decrypt", p.Source.KeyARN, p.Source.ARN, ServicePrincipal(), env))
	if p.crossAccount() && !k.serviceManaged(ctx, p.Source.KeyARN) {
		slr, err := k.IAM.ServiceLinkedRole(ctx, p.Destination.Account, Service)
		if err != nil {
			b.add(Condition{Name: "the destination's service-linked role exists", Err: err})
		} else {
			for _, action := range []string{"kms:DescribeKey", "kms:Decrypt", "kms:CreateGrant"} {
				k.check(ctx, b, "the source vault's key lets account "+p.Destination.Account+" in: "+action, slr, env,
					KeyDenied(p.Source.KeyARN, action), KMSError, KeyCheck(action, p.Source.KeyARN, p.Source.ARN, slr, env))
			}
		}
	}
	b.add(k.keyUsable(ctx, "the destination vault's key is usable", p.Destination))
	env = k.Env(p.Destination.Region, p.JobID)
	k.check(ctx, b, "the backup service may write with the destination vault's key", ServicePrincipal(), env,
		KeyDenied(p.Destination.KeyARN, "kms:GenerateDataKey"), KMSError, KeyCheck("kms:GenerateDataKey", p.Destination.KeyARN, p.Destination.ARN, ServicePrincipal(), env))
}

// serviceManaged reports whether a key is the account's alias/aws/backup: it has no policy that could let anybody in, and the
// backup service itself may use it for every copy.
func (k *Checker) serviceManaged(ctx context.Context, keyARN string) bool {
	key, err := k.KMS.Describe(ctx, keyARN)
	return err == nil && key.Manager == kms.ManagerAWS
}

func (k *Checker) keyUsable(ctx context.Context, name string, v backup.WorkVault) Condition {
	key, err := k.KMS.Describe(ctx, v.KeyARN)
	var state string
	switch {
	case fault.Is(err, fault.NotFound):
		state = "does not exist"
	case err != nil:
		return Condition{Name: name, Err: err}
	case key.State != kms.Enabled:
		state = "is " + string(key.State)
	default:
		return Condition{Name: name, OK: true}
	}
	return Condition{Name: name, Category: KMSError,
		Message: keyDenied + ": key " + v.KeyARN + " " + state + ", so kms:Decrypt and kms:GenerateDataKey are refused.",
		Missing: []Missing{{Account: v.Account, Policy: "state of key " + v.KeyARN, Note: "cancel its deletion or enable it again"}}}
}

// KeyDenied is what a job says when it may not use a vault's key; the evaluator's text follows it.
func KeyDenied(keyARN, action string) string {
	return keyDenied + ": key " + keyARN + ", action " + action + "."
}

// EncryptionContext binds a wrapped root key to its vault; its key is the one AWS Backup uses.
func EncryptionContext(vaultARN string) map[string]string {
	return map[string]string{"aws:backup:backup-vault": vaultARN}
}

// KeyCheck is the question for an operation of p on a vault's key with the vault's encryption context. Unlike a call of the
// API it does not hide why the answer is no: the account that a job belongs to has to mend it.
func KeyCheck(action, keyARN, vaultARN string, p access.Principal, env access.Env) access.Check {
	c := kms.Check(action, keyARN, p, env)
	if action == "kms:CreateGrant" {
		c = kms.GrantCheck(keyARN, p, env, kms.NewGrant{Grantee: Service, Operations: []string{"Decrypt", "DescribeKey"}, Subset: EncryptionContext(vaultARN)})
	} else if action != "kms:DescribeKey" {
		c = kms.WithEncryptionContext(c, EncryptionContext(vaultARN))
	}
	c.Hidden = ""
	return c
}
