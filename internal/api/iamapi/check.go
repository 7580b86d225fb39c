package iamapi

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/authz"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/policy"
	"strongroom/internal/wire"
)

// Lookup tells authorization about IAM's resources. It is registered for "iam" and for "sts": the actions of STS on a role
// (AssumeRole, TagSession, SetSourceIdentity) are decided with the role's trust policy; those of IAM on a user, group, role or
// policy, iam:PassRole among them, only need its tags.
func Lookup(s *iam.Service) authz.Lookup {
	return func(ctx context.Context, check access.Check, _ access.Principal) (authz.Resource, error) {
		if service, _, _ := strings.Cut(check.Action, ":"); strings.EqualFold(service, "sts") {
			t, err := s.TrustPolicy(ctx, check.Resource)
			r := authz.Resource{Exists: t.Exists, Kind: policy.RoleTrust, Tags: t.Tags, Context: tagContext(t.Tags)}
			if t.Exists {
				r.Policy = &t.Policy
			}
			return r, err
		}
		f, err := s.FindByARN(ctx, check.Resource)
		return authz.Resource{Exists: f.Exists, Tags: f.Tags, Kind: policy.Ordinary, Context: tagContext(f.Tags)}, err
	}
}

// tagContext repeats a resource's tags under IAM's own condition key.
func tagContext(tags map[string]string) access.Context {
	if len(tags) == 0 {
		return nil
	}
	keys := make(access.Context, len(tags))
	for k, v := range tags {
		keys.Set("iam:ResourceTag/"+k, v)
	}
	return keys
}

// onlyFull refuses credentials of GetSessionToken that were made without MFA: they may not call IAM.
func onlyFull(c wire.Caller) error {
	if (c.Kind == access.User || c.Kind == access.Root) && !c.Issued.IsZero() && c.MFA.IsZero() {
		return fault.New(fault.Denied, "The security token included in the request is invalid").WithCode(codeSessionToken)
	}
	return nil
}

// row is an authorization row of one check.
func row[In any](action string, build func(ctx context.Context, c wire.Caller, in *In) (resource string, keys access.Context, err error)) wire.Checks[In] {
	return func(ctx context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		if err := onlyFull(c); err != nil {
			return nil, err
		}
		resource, keys, err := build(ctx, c, in)
		if err != nil {
			return nil, err
		}
		check := access.Check{Action: action, Resource: resource, Context: keys}
		if arn.AccountOf(resource) == "aws" { // AWS's policies are everybody's own
			check.Account = c.Account
		}
		return []access.Check{check}, nil
	}
}

// onAll is the row of an operation without resource.
func onAll[In any](action string) wire.Checks[In] {
	return row(action, func(context.Context, wire.Caller, *In) (string, access.Context, error) { return "*", nil, nil })
}

// fill adds condition keys from the request; found is the entity that the request names.
type fill[In any] func(keys access.Context, in *In, found iam.Found)

// onEntity is the row of an operation on a named user, group or role. A user name that is left out is the caller's own.
func onEntity[In any](a api, action string, kind iam.Kind, name func(*In) *string, fills ...fill[In]) wire.Checks[In] {
	return row(action, func(ctx context.Context, c wire.Caller, in *In) (string, access.Context, error) {
		n := aws.ToString(name(in))
		if n == "" && kind == iam.KindUser {
			if c.Kind != access.User {
				return c.ARN, nil, nil // the root user, or a role, which the handler refuses
			}
			n = c.Name
		}
		f, err := a.s.Find(ctx, c.Account, iam.Ref{Kind: kind, Name: n})
		if err != nil {
			return "", nil, err
		}
		keys := access.Context{}
		for _, fn := range fills {
			fn(keys, in, f)
		}
		return f.ARN, keys, nil
	})
}

// onRenamed is the row of an operation that changes an entity's name or path: the action must be allowed on the entity as it is
// and as it will be, or whoever may act under one path could move entities to another.
func onRenamed[In any](a api, action string, kind iam.Kind, name, newName, newPath func(*In) *string) wire.Checks[In] {
	old := onEntity(a, action, kind, name)
	return func(ctx context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		checks, err := old(ctx, c, in)
		if err != nil || aws.ToString(newName(in)) == "" && aws.ToString(newPath(in)) == "" {
			return checks, err
		}
		_, _, path, last, _ := iam.SplitARN(checks[0].Resource)
		if n := aws.ToString(newName(in)); n != "" {
			last = n
		}
		if p := aws.ToString(newPath(in)); p != "" {
			path = p
		}
		return append(checks, access.Check{Action: action, Resource: iam.NewARN(c.Account, string(kind), path, last)}), nil
	}
}

// onNew is the row of an operation that makes a user, group, role or policy. Whoever makes it with tags must be allowed to tag it
// too, or nothing could be decided by tags.
func onNew[In any](action, kind string, path, name func(*In) *string, fills ...fill[In]) wire.Checks[In] {
	create := row(action, func(_ context.Context, c wire.Caller, in *In) (string, access.Context, error) {
		keys := access.Context{}
		for _, fn := range fills {
			fn(keys, in, iam.Found{})
		}
		return iam.NewARN(c.Account, kind, aws.ToString(path(in)), aws.ToString(name(in))), keys, nil
	})
	return func(ctx context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		checks, err := create(ctx, c, in)
		if err != nil || len(checks[0].Context["aws:TagKeys"]) == 0 {
			return checks, err
		}
		tag := checks[0]
		tag.Action = "iam:Tag" + strings.ToUpper(kind[:1]) + kind[1:]
		return append(checks, tag), nil
	}
}

// onPolicy is the row of an operation on a managed policy.
func onPolicy[In any](action string, name func(*In) *string, fills ...fill[In]) wire.Checks[In] {
	return row(action, func(_ context.Context, _ wire.Caller, in *In) (string, access.Context, error) {
		keys := access.Context{}
		for _, fn := range fills {
			fn(keys, in, iam.Found{})
		}
		return aws.ToString(name(in)), keys, nil
	})
}

// policyARN sets iam:PolicyARN.
func policyARN[In any](arn func(*In) *string) fill[In] {
	return func(k access.Context, in *In, _ iam.Found) { k.Set("iam:PolicyARN", aws.ToString(arn(in))) }
}

// ownBoundary sets iam:PermissionsBoundary to the boundary that the entity has.
func ownBoundary[In any](k access.Context, _ *In, f iam.Found) {
	k.Set("iam:PermissionsBoundary", f.Boundary)
}

// newBoundary sets iam:PermissionsBoundary to the boundary that the request asks for.
func newBoundary[In any](arn func(*In) *string) fill[In] {
	return func(k access.Context, in *In, _ iam.Found) { k.Set("iam:PermissionsBoundary", aws.ToString(arn(in))) }
}

// requestTags sets aws:RequestTag/* and aws:TagKeys.
func requestTags[In any](tags func(*In) []types.Tag) fill[In] {
	return func(k access.Context, in *In, _ iam.Found) {
		for _, t := range tags(in) {
			k.Set("aws:RequestTag/"+aws.ToString(t.Key), aws.ToString(t.Value))
			k["aws:TagKeys"] = append(k["aws:TagKeys"], aws.ToString(t.Key))
		}
	}
}

// tagKeys sets aws:TagKeys.
func tagKeys[In any](keys func(*In) []string) fill[In] {
	return func(k access.Context, in *In, _ iam.Found) {
		if v := keys(in); len(v) > 0 {
			k["aws:TagKeys"] = v
		}
	}
}
