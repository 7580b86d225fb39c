package backupapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/schemas"

	"strongroom/internal/access"
	"strongroom/internal/wire"
)

func (a *API) tagOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("ListTags", schemas.ListTags, schemas.ListTagsInput, schemas.ListTagsOutput,
			onResource("ListTags", func(in *awsbackup.ListTagsInput) *string { return in.ResourceArn }), a.listTags),
		wire.Op("TagResource", schemas.TagResource, schemas.TagResourceInput, nil, tagChecks, a.tagResource),
		wire.Op("UntagResource", schemas.UntagResource, schemas.UntagResourceInput, nil, untagChecks, a.untagResource),
	}
}

func tagChecks(_ context.Context, _ wire.Caller, in *awsbackup.TagResourceInput) ([]access.Check, error) {
	return []access.Check{{Action: "backup:TagResource", Resource: aws.ToString(in.ResourceArn), Context: requestTags(in.Tags)}}, nil
}

func untagChecks(_ context.Context, _ wire.Caller, in *awsbackup.UntagResourceInput) ([]access.Check, error) {
	return []access.Check{{Action: "backup:UntagResource", Resource: aws.ToString(in.ResourceArn), Context: tagKeys(access.Context{}, in.TagKeyList)}}, nil
}

func (a *API) listTags(ctx context.Context, c wire.Caller, in *awsbackup.ListTagsInput) (*awsbackup.ListTagsOutput, error) {
	tags, next, err := a.s.Tags(ctx, c.Account, c.Env.Region, aws.ToString(in.ResourceArn), page(in.MaxResults, in.NextToken))
	return &awsbackup.ListTagsOutput{Tags: tags, NextToken: text(next)}, err
}

func (a *API) tagResource(ctx context.Context, c wire.Caller, in *awsbackup.TagResourceInput) (*awsbackup.TagResourceOutput, error) {
	return &awsbackup.TagResourceOutput{}, a.s.AddTags(ctx, c.Account, c.Env.Region, aws.ToString(in.ResourceArn), in.Tags)
}

func (a *API) untagResource(ctx context.Context, c wire.Caller, in *awsbackup.UntagResourceInput) (*awsbackup.UntagResourceOutput, error) {
	return &awsbackup.UntagResourceOutput{}, a.s.RemoveTags(ctx, c.Account, c.Env.Region, aws.ToString(in.ResourceArn), in.TagKeyList)
}
