package iamapi

import (
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

// encoded writes a policy document as IAM's replies carry it: percent-encoded after RFC 3986.
func encoded(document string) *string {
	return aws.String(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}

// nonEmpty is nil for "".
func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Second) // IAM's times are whole seconds
	return &t
}

func page(marker *string, items *int32) iam.Page {
	return iam.Page{Marker: aws.ToString(marker), MaxItems: int(aws.ToInt32(items))}
}

func tagMap(tags []types.Tag) (map[string]string, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		k := aws.ToString(t.Key)
		if _, ok := out[k]; ok {
			return nil, fault.New(fault.Invalid, "Duplicate tag keys found. Please note that Tag keys are case insensitive.").WithCode(iam.CodeInvalidInput)
		}
		out[k] = aws.ToString(t.Value)
	}
	return out, nil
}

func tagList(tags []iam.Tag) []types.Tag {
	out := make([]types.Tag, len(tags))
	for i, t := range tags {
		out[i] = types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)}
	}
	return out
}

func tagsOf(m map[string]string) []types.Tag {
	if len(m) == 0 {
		return nil
	}
	return tagList(iam.SortTags(m))
}

func boundary(arn string) *types.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	return &types.AttachedPermissionsBoundary{PermissionsBoundaryArn: &arn, PermissionsBoundaryType: types.PermissionsBoundaryAttachmentTypePolicy}
}

func user(u iam.User) types.User {
	return types.User{UserId: &u.ID, UserName: &u.Name, Path: &u.Path, Arn: &u.ARN, CreateDate: when(u.Created), PermissionsBoundary: boundary(u.Boundary), Tags: tagsOf(u.Tags)}
}

func users(list []iam.User) []types.User {
	out := make([]types.User, len(list))
	for i, u := range list {
		out[i] = user(u)
	}
	return out
}

func group(g iam.Group) types.Group {
	return types.Group{GroupId: &g.ID, GroupName: &g.Name, Path: &g.Path, Arn: &g.ARN, CreateDate: when(g.Created)}
}

func groups(list []iam.Group) []types.Group {
	out := make([]types.Group, len(list))
	for i, g := range list {
		out[i] = group(g)
	}
	return out
}

func role(r iam.Role) types.Role {
	return types.Role{
		RoleId: &r.ID, RoleName: &r.Name, Path: &r.Path, Arn: &r.ARN, CreateDate: when(r.Created), Description: nonEmpty(r.Description),
		AssumeRolePolicyDocument: encoded(r.Trust), MaxSessionDuration: aws.Int32(int32(r.MaxSession / time.Second)), PermissionsBoundary: boundary(r.Boundary), Tags: tagsOf(r.Tags),
	}
}

func managed(p iam.Policy) types.Policy {
	return types.Policy{
		PolicyId: &p.ID, PolicyName: &p.Name, Path: &p.Path, Arn: &p.ARN, Description: nonEmpty(p.Description), CreateDate: when(p.Created), UpdateDate: when(p.Updated),
		DefaultVersionId: aws.String(iam.VersionName(p.DefaultVersion)), IsAttachable: p.Attachable, AttachmentCount: aws.Int32(int32(p.Attachments)),
		PermissionsBoundaryUsageCount: aws.Int32(int32(p.Boundaries)), Tags: tagsOf(p.Tags),
	}
}

func version(v iam.Version, withDocument bool) types.PolicyVersion {
	out := types.PolicyVersion{VersionId: aws.String(iam.VersionName(v.ID)), IsDefaultVersion: v.Default, CreateDate: when(v.Created)}
	if withDocument {
		out.Document = encoded(v.Document)
	}
	return out
}

func attached(list []iam.Attached) []types.AttachedPolicy {
	out := make([]types.AttachedPolicy, len(list))
	for i, p := range list {
		out[i] = types.AttachedPolicy{PolicyName: &p.Name, PolicyArn: &p.ARN}
	}
	return out
}

// self is the user that an operation means when its user name is left out: the caller; "" is the root user.
func self(c wire.Caller, name *string) (string, error) {
	switch {
	case aws.ToString(name) != "":
		return *name, nil
	case c.Kind == access.User:
		return c.Name, nil
	case c.Kind == access.Root:
		return "", nil
	}
	return "", fault.New(fault.Invalid, "Must specify userName when calling with non-User credentials")
}
