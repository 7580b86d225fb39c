package backupapi

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"

	"strongroom/internal/access"
	"strongroom/internal/authz"
	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
	"strongroom/internal/wire"
)

// hidden is what a caller sees of vaults that are not theirs or not there.
const hidden = "Insufficient privileges to perform this action."

// onVault is the row of calls about a vault of the caller's account, which the input names.
func onVault[In any](action string, name func(*In) *string) wire.Checks[In] {
	return func(_ context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		return []access.Check{{Action: "backup:" + action, Resource: backup.VaultARN(c.Account, c.Env.Region, aws.ToString(name(in)))}}, nil
	}
}

// onVaultOf is onVault for reads that may name the vault's account. The only vaults that another account could read are
// shared ones, of which there are none yet.
func onVaultOf[In any](action string, name, owner func(*In) *string) wire.Checks[In] {
	return ownOnly(onVault(action, name), owner)
}

// ownOnly refuses inputs that name another account than the caller's.
func ownOnly[In any](row wire.Checks[In], owner func(*In) *string) wire.Checks[In] {
	return func(ctx context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		if o := aws.ToString(owner(in)); o != "" && o != c.Account {
			return nil, fault.New(fault.Denied, hidden)
		}
		return row(ctx, c, in)
	}
}

// onResource is the row of calls about one ARN: a recovery point, a vault or a plan.
func onResource[In any](action string, name func(*In) *string) wire.Checks[In] {
	return func(_ context.Context, _ wire.Caller, in *In) ([]access.Check, error) {
		return []access.Check{{Action: "backup:" + action, Resource: aws.ToString(name(in))}}, nil
	}
}

// onAll is the row of calls that are about no single resource.
func onAll[In any](action string) wire.Checks[In] {
	return func(context.Context, wire.Caller, *In) ([]access.Check, error) {
		return []access.Check{{Action: "backup:" + action, Resource: "*"}}, nil
	}
}

// requestTags are the condition keys of tags in a request.
func requestTags(tags map[string]string) access.Context {
	c := access.Context{}
	for k, v := range tags {
		c["aws:RequestTag/"+k] = []string{v}
	}
	return tagKeys(c, slices.Sorted(maps.Keys(tags)))
}

func tagKeys(c access.Context, keys []string) access.Context {
	if len(keys) > 0 {
		c["aws:TagKeys"] = keys
	}
	return c
}

// setDays adds a condition key with a number of days.
func setDays(c access.Context, key string, days *int64) {
	if days != nil {
		c.Set(key, strconv.FormatInt(*days, 10))
	}
}

// parsedPolicies is how many vault policies are kept parsed.
const parsedPolicies = 1024

// Lookup is the authorizer's lookup for the actions of this service ("backup"). A vault and every recovery point in it
// are under the vault's policy.
func Lookup(s *backup.Service) authz.Lookup {
	cache := policy.NewCache(parsedPolicies)
	return func(ctx context.Context, check access.Check, _ access.Principal) (authz.Resource, error) {
		g, err := s.Guard(ctx, check.Resource)
		if err != nil {
			return authz.Resource{}, err
		}
		r := authz.Resource{Exists: g.Exists, Account: g.Account, Tags: g.Tags}
		if _, _, _, ok := backup.ParseVaultARN(check.Resource); ok || g.VaultARN != "" {
			r.Kind = policy.Vault
		}
		if g.Policy != "" {
			// A stored policy that cannot be read any more denies: Doc stays nil.
			doc, err := cache.Parse(policy.ResourceVault, g.Policy)
			if err != nil {
				doc = nil
			}
			r.Policy = &policy.Source{Type: policy.TypeResource, Name: g.VaultARN, Owner: g.Account, Doc: doc}
		}
		return r, nil
	}
}
