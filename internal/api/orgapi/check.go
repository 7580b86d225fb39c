package orgapi

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"strongroom/internal/access"
	"strongroom/internal/org"
	"strongroom/internal/wire"
)

// onAll is the row of calls that are about no single resource. more, if any, adds the condition keys of the operation.
func onAll[In any](action string, more ...func(*In, access.Context)) wire.Checks[In] {
	return func(_ context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		return []access.Check{question(action, "*", c, in, more)}, nil
	}
}

// on is the row of calls about roots, units, accounts and policies, named by their ids. Without an organization there is nothing to
// name; the handler says so.
func on[In any](a *API, action string, ids func(*In) []*string, more ...func(*In, access.Context)) wire.Checks[In] {
	return func(ctx context.Context, c wire.Caller, in *In) ([]access.Check, error) {
		o, err := a.s.Standing(ctx, c.Account)
		if err != nil {
			return nil, err
		}
		var out []access.Check
		for _, id := range ids(in) {
			name := "*"
			if o.ID != "" {
				if n := o.TargetARN(aws.ToString(id)); n != "" {
					name = n
				}
			}
			out = append(out, question(action, name, c, in, more))
		}
		return out, nil
	}
}

func question[In any](action, resource string, c wire.Caller, in *In, more []func(*In, access.Context)) access.Check {
	check := access.Check{Action: "organizations:" + action, Resource: resource, Account: c.Account, Context: access.Context{}}
	for _, add := range more {
		add(in, check.Context)
	}
	return check
}

// requestTags adds the condition keys of tags in a request.
func requestTags(c access.Context, tags []orgtypes.Tag) {
	if len(tags) == 0 {
		return
	}
	m := tagMap(tags)
	for k, v := range m {
		c["aws:RequestTag/"+k] = []string{v}
	}
	c["aws:TagKeys"] = slices.Sorted(maps.Keys(m))
}

func tagMap(tags []orgtypes.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

func page(limit *int32, token *string) org.Page { return org.Page{Max: limit, Token: token} }

// text leaves "" out.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
