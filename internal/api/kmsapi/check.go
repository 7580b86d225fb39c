package kmsapi

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

// takes says what an operation accepts as KeyId.
type takes int

const (
	ownKeys     takes = 0
	aliases     takes = 1 << iota // alias names and alias ARNs too
	foreignKeys                   // keys of other accounts too
)

// onKey is the row of calls about one key. more, if any, adds the condition keys of the operation.
func onKey[In any](a *API, action string, t takes, keyID func(*In) *string, more ...func(*In, access.Check) access.Check) wire.Checks[In] {
	return func(ctx context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		check, err := a.keyCheck(ctx, c, action, aws.ToString(keyID(in)), t)
		if err != nil {
			return nil, err
		}
		for _, add := range more {
			check = add(in, check)
		}
		return []access.Check{check}, nil
	}
}

// keyCheck is the question whether the caller may do action on the key that keyID names.
func (a *API) keyCheck(ctx context.Context, c wire.Caller, action, keyID string, t takes) (access.Check, error) {
	ref, err := a.s.Resolve(ctx, c.Account, c.Env.Region, keyID, t&aliases != 0)
	if err != nil {
		return access.Check{}, err
	}
	if t&foreignKeys == 0 && arn.AccountOf(ref.ARN) != c.Account {
		return access.Check{}, fault.New(fault.Denied, "User: %s is not authorized to perform: %s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access. "+
			"%s works only on keys of the caller's own account, whatever policies say; the key %s is of account %s.", c.ARN, action, action, ref.ARN, arn.AccountOf(ref.ARN)).WithResource(ref.ARN)
	}
	check := kms.Check(action, ref.ARN, c.Principal, c.Env)
	check.Context.Set("kms:RequestAlias", ref.Alias)
	if check.Hidden != "" { // in the caller's words: which key another account's alias leads to is not for everybody
		check.Hidden = kms.HiddenKey(c.ARN, action, keyID)
	}
	return check, nil
}

// onAll is the row of calls that are about no single key.
func onAll[In any](action string, more ...func(*In, access.Check) access.Check) wire.Checks[In] {
	return func(_ context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		check := kms.Check(action, "*", c.Principal, c.Env)
		for _, add := range more {
			check = add(in, check)
		}
		return []access.Check{check}, nil
	}
}

// key returns the ARN of the key that keyID names, after authorization: what does not exist is not found.
func (a *API) key(ctx context.Context, c wire.Caller, keyID *string, t takes) (string, error) {
	ref, err := a.s.Resolve(ctx, c.Account, c.Env.Region, aws.ToString(keyID), t&aliases != 0)
	if err != nil {
		return "", err
	}
	if !ref.Exists {
		return "", ref.NotFound()
	}
	return ref.ARN, nil
}

func set(c access.Check, key, value string) access.Check {
	c.Context = c.Context.Clone()
	c.Context.Set(key, value)
	return c
}

// requestTags adds the condition keys of tags in a request.
func requestTags(c access.Check, tags []kmstypes.Tag) access.Check {
	if len(tags) == 0 {
		return c
	}
	c.Context = c.Context.Clone()
	m := tagMap(tags)
	for k, v := range m {
		c.Context["aws:RequestTag/"+k] = []string{v}
	}
	c.Context["aws:TagKeys"] = slices.Sorted(maps.Keys(m))
	return c
}

func tagMap(tags []kmstypes.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.TagKey)] = aws.ToString(t.TagValue)
	}
	return m
}

// page is how a list goes on: limit entries after cursor, in the list that scope names.
type page struct {
	scope, cursor string
	limit         int
}

const defaultLimit = 100

func (a *API) page(scope string, limit *int32, marker *string) (page, error) {
	p := page{scope: scope, limit: defaultLimit}
	if limit != nil {
		p.limit = int(*limit)
	}
	var err error
	p.cursor, err = a.s.Cursor(scope, aws.ToString(marker))
	return p, err
}

// next is the marker of the next page, nil after the last.
func (a *API) next(p page, more bool, cursor string) *string {
	if !more {
		return nil
	}
	return aws.String(a.s.Marker(p.scope, cursor))
}
