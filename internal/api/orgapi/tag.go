package orgapi

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/schemas"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/wire"
)

func (a *API) tagOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("TagResource", schemas.TagResource, schemas.TagResourceRequest, nil,
			on(a, "TagResource", func(in *awsorg.TagResourceInput) []*string { return []*string{in.ResourceId} }, func(in *awsorg.TagResourceInput, c access.Context) { requestTags(c, in.Tags) }), a.tagResource),
		wire.Op("UntagResource", schemas.UntagResource, schemas.UntagResourceRequest, nil,
			on(a, "UntagResource", func(in *awsorg.UntagResourceInput) []*string { return []*string{in.ResourceId} }, func(in *awsorg.UntagResourceInput, c access.Context) {
				if len(in.TagKeys) > 0 {
					c["aws:TagKeys"] = in.TagKeys
				}
			}), a.untagResource),
		wire.Op("ListTagsForResource", schemas.ListTagsForResource, schemas.ListTagsForResourceRequest, schemas.ListTagsForResourceResponse,
			on(a, "ListTagsForResource", func(in *awsorg.ListTagsForResourceInput) []*string { return []*string{in.ResourceId} }), a.listTags),
	}
}

func (a *API) tagResource(ctx context.Context, c wire.Caller, in *awsorg.TagResourceInput) (*awsorg.TagResourceOutput, error) {
	return &awsorg.TagResourceOutput{}, a.s.Tag(ctx, c.Account, aws.ToString(in.ResourceId), tagMap(in.Tags))
}

func (a *API) untagResource(ctx context.Context, c wire.Caller, in *awsorg.UntagResourceInput) (*awsorg.UntagResourceOutput, error) {
	return &awsorg.UntagResourceOutput{}, a.s.Untag(ctx, c.Account, aws.ToString(in.ResourceId), in.TagKeys)
}

// listTags returns all tags in one page; there are at most 50.
func (a *API) listTags(ctx context.Context, c wire.Caller, in *awsorg.ListTagsForResourceInput) (*awsorg.ListTagsForResourceOutput, error) {
	if in.NextToken != nil {
		return nil, fault.New(fault.Invalid, "You provided a value for the NextToken parameter that is not valid.").WithCode("InvalidInput").WithDetail("Reason", "INVALID_NEXT_TOKEN")
	}
	tags, err := a.s.Tags(ctx, c.Account, aws.ToString(in.ResourceId))
	if err != nil {
		return nil, err
	}
	out := &awsorg.ListTagsForResourceOutput{Tags: []orgtypes.Tag{}}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out.Tags = append(out.Tags, orgtypes.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	return out, nil
}
