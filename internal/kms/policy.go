package kms

import (
	"context"
	"encoding/json"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

const maxPolicy = 32 << 10 // bytes, as in AWS

// DefaultPolicy leaves a key to the identity policies of its account.
func DefaultPolicy(account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "` + arn.Root(account) + `"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

// managedPolicy lets every principal of the account use a service's key through that service, and see its metadata.
func managedPolicy(account, viaService string) (string, error) {
	b, err := json.MarshalIndent(map[string]any{
		"Version": "2012-10-17",
		"Id":      "service-key-1",
		"Statement": []any{
			map[string]any{
				"Sid": "Use through " + viaService, "Effect": "Allow", "Principal": map[string]any{"AWS": "*"},
				"Action":    []string{"kms:CreateGrant", "kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"},
				"Resource":  "*",
				"Condition": map[string]any{"StringEquals": map[string]any{"kms:CallerAccount": account, "kms:ViaService": viaService}},
			},
			map[string]any{
				"Sid": "See metadata", "Effect": "Allow", "Principal": map[string]any{"AWS": arn.Root(account)},
				"Action":   []string{"kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"},
				"Resource": "*",
			},
		},
	}, "", "  ")
	return string(b), err
}

// PutPolicy replaces the key's policy; see CreateKey for what is refused.
func (s *Service) PutPolicy(ctx context.Context, caller access.Principal, keyARN, text string, bypassLockout bool) error {
	k, err := s.Describe(ctx, keyARN)
	if err != nil {
		return err
	}
	if err := s.validPolicy(ctx, caller, k, bypassLockout, text); err != nil {
		return err
	}
	return s.change(ctx, keyARN, toRead, func(_ context.Context, _ *db.Tx, k *Key) error {
		k.Policy = text
		return nil
	})
}

func errPolicy(format string, args ...any) *fault.Error {
	return errInvalid(format, args...).WithCode(CodeMalformedPolicy)
}

func (s *Service) validPolicy(ctx context.Context, caller access.Principal, k Key, bypassLockout bool, text string) error {
	if len(text) > maxPolicy {
		return fault.New(fault.Limit, "A key policy has at most %d bytes, this one has %d", maxPolicy, len(text))
	}
	doc, err := policy.Parse(policy.KeyPolicy, text)
	if f := fault.As(err); f != nil {
		return errPolicy("%s", f.Msg)
	}
	if err != nil {
		return err
	}
	if s.PrincipalExists != nil {
		for _, p := range doc.Principals() {
			if !s.PrincipalExists(ctx, p) {
				return errPolicy("Policy contains a statement with one or more invalid principals. %s does not exist.", p)
			}
		}
	}
	if bypassLockout || keepsAccess(caller, k, doc) {
		return nil
	}
	return errPolicy("The new key policy will not allow you to update the key policy in the future.")
}

// keepsAccess evaluates the caller's next PutKeyPolicy as if its own account allowed everything: what a policy can lock out is
// only what it does not allow itself.
func keepsAccess(caller access.Principal, k Key, doc *policy.Document) bool {
	all, err := policy.Parse(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`)
	if err != nil {
		return false
	}
	c := keyContext(k, nil)
	c.Set("aws:PrincipalArn", caller.PolicyARN())
	c.Set("aws:PrincipalAccount", caller.Account)
	c.Set("aws:userid", caller.ID)
	c.Set("aws:ResourceAccount", k.Account)
	c.Set("kms:CallerAccount", caller.Account)
	c.Set("aws:SecureTransport", "true")
	for name, v := range caller.Tags {
		c.Set("aws:PrincipalTag/"+name, v)
	}
	return policy.Evaluate(policy.Request{
		Principal:       caller,
		Check:           access.Check{Action: "kms:PutKeyPolicy", Resource: k.ARN(), Account: k.Account},
		Context:         c,
		Identity:        []policy.Source{{Name: "caller", Owner: caller.Account, Doc: all}},
		Resource:        &policy.Source{Name: k.ARN(), Owner: k.Account, Doc: doc},
		ResourceAccount: k.Account,
		ResourceKind:    policy.KMSKey,
	}).Allowed
}
