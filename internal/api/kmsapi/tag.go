package kmsapi

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/wire"
)

func (a *API) tagOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("TagResource", schemas.TagResource, schemas.TagResourceRequest, nil,
			onKey(a, "kms:TagResource", ownKeys, func(in *awskms.TagResourceInput) *string { return in.KeyId }, func(in *awskms.TagResourceInput, c access.Check) access.Check { return requestTags(c, in.Tags) }), a.tagResource),
		wire.Op("UntagResource", schemas.UntagResource, schemas.UntagResourceRequest, nil,
			onKey(a, "kms:UntagResource", ownKeys, func(in *awskms.UntagResourceInput) *string { return in.KeyId }, func(in *awskms.UntagResourceInput, c access.Check) access.Check {
				c.Context = c.Context.Clone()
				if len(in.TagKeys) > 0 {
					c.Context["aws:TagKeys"] = in.TagKeys
				}
				return c
			}), a.untagResource),
		wire.Op("ListResourceTags", schemas.ListResourceTags, schemas.ListResourceTagsRequest, schemas.ListResourceTagsResponse,
			onKey(a, "kms:ListResourceTags", ownKeys, func(in *awskms.ListResourceTagsInput) *string { return in.KeyId }), a.listResourceTags),
	}
}

func (a *API) tagResource(ctx context.Context, c wire.Caller, in *awskms.TagResourceInput) (*awskms.TagResourceOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.TagResourceOutput{}, a.s.Tag(ctx, key, tagMap(in.Tags))
}

func (a *API) untagResource(ctx context.Context, c wire.Caller, in *awskms.UntagResourceInput) (*awskms.UntagResourceOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.UntagResourceOutput{}, a.s.Untag(ctx, key, in.TagKeys)
}

// listResourceTags pages over the names in order; a key has at most 50 tags, so they are read at once.
func (a *API) listResourceTags(ctx context.Context, c wire.Caller, in *awskms.ListResourceTagsInput) (*awskms.ListResourceTagsOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	p, err := a.page("tags "+key, in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	tags, err := a.s.Tags(ctx, key)
	if err != nil {
		return nil, err
	}
	out := &awskms.ListResourceTagsOutput{Tags: []kmstypes.Tag{}}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		if name <= p.cursor {
			continue
		}
		if len(out.Tags) == p.limit {
			out.Truncated = true
			break
		}
		out.Tags = append(out.Tags, kmstypes.Tag{TagKey: aws.String(name), TagValue: aws.String(tags[name])})
	}
	if out.Truncated {
		out.NextMarker = a.next(p, true, aws.ToString(out.Tags[len(out.Tags)-1].TagKey))
	}
	return out, nil
}
