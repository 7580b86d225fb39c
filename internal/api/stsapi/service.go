// Package stsapi serves STS's API (2011-06-15) over iam.Service: AssumeRole, GetCallerIdentity, GetSessionToken and
// GetAccessKeyInfo. The other operations of the model are answered as not implemented.
//
// A role that does not exist and a role that the caller may not assume get the same answer. Start at Service.
package stsapi

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/iam"
	"strongroom/internal/wire"
)

// api has a method for every operation.
type api struct{ s *iam.Service }

// Service describes STS to the wire layer.
func Service(s *iam.Service) wire.Service {
	a := api{s}
	return wire.Service{
		Name: "sts", Protocol: wire.Query, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Operations: []wire.Operation{
			wire.Op("AssumeRole", nil, nil, nil, a.mayAssume, a.assumeRole),
			wire.Op("GetCallerIdentity", nil, nil, nil, wire.AnyCaller[awssts.GetCallerIdentityInput], a.getCallerIdentity),
			wire.Op("GetSessionToken", nil, nil, nil, wire.AnyCaller[awssts.GetSessionTokenInput], a.getSessionToken),
			wire.Op("GetAccessKeyInfo", nil, nil, nil, mayGetAccessKeyInfo, a.getAccessKeyInfo),
		},
		KnownNames: knownNames(), Exception: exception, Constraints: constraints(),
		// Clients do not sign these, and shall learn that they are not implemented rather than that a signature is missing.
		Unsigned: []string{"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"},
	}
}

func request(in *awssts.AssumeRoleInput) (iam.AssumeRole, error) {
	r := iam.AssumeRole{
		RoleARN: aws.ToString(in.RoleArn), SessionName: aws.ToString(in.RoleSessionName), Duration: time.Duration(aws.ToInt32(in.DurationSeconds)) * time.Second,
		Policy: aws.ToString(in.Policy), Transitive: in.TransitiveTagKeys, ExternalID: aws.ToString(in.ExternalId), SourceIdentity: aws.ToString(in.SourceIdentity),
	}
	for _, p := range in.PolicyArns {
		r.PolicyARNs = append(r.PolicyARNs, aws.ToString(p.Arn))
	}
	for _, t := range in.Tags {
		if r.Tags == nil {
			r.Tags = map[string]string{}
		}
		k := aws.ToString(t.Key)
		if _, ok := r.Tags[k]; ok {
			return r, fault.New(fault.Invalid, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		r.Tags[k] = aws.ToString(t.Value)
	}
	if len(in.ProvidedContexts) > 0 {
		return r, fault.New(fault.Invalid, "ProvidedContexts are not supported.")
	}
	return r, noMFA(in.SerialNumber, in.TokenCode)
}

// noMFA refuses a one-time code: no device can be registered, so none can be right.
func noMFA(serial, code *string) error {
	if aws.ToString(serial) != "" || aws.ToString(code) != "" {
		return fault.New(fault.Denied, "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is valid and associated with this user.")
	}
	return nil
}

// mayAssume is the row of AssumeRole: the action itself and, where the new session will carry tags or a source identity, the
// right to set them; what a chain of roles passes on is asked again for each role.
func (a api) mayAssume(_ context.Context, c wire.Caller, in *awssts.AssumeRoleInput) ([]access.Check, error) {
	r, err := request(in)
	if err != nil {
		return nil, err
	}
	if err := a.s.ValidateAssumeRole(c.Principal, r); err != nil {
		return nil, err
	}
	keys := access.Context{}
	keys.Set("sts:RoleSessionName", r.SessionName)
	keys.Set("sts:ExternalId", r.ExternalID)
	if in.DurationSeconds != nil {
		keys.Set("sts:DurationSeconds", seconds(*in.DurationSeconds))
	}
	for k, v := range r.Tags {
		keys["aws:RequestTag/"+k] = []string{v}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], k)
	}
	pass := slices.Clone(r.Transitive)
	tagged, source := len(r.Tags) > 0, r.SourceIdentity
	if c.Kind == access.Role {
		for _, k := range c.TransitiveTags {
			if v, ok := c.Tags[k]; ok {
				tagged = true
				pass = append(pass, k)
				keys["aws:RequestTag/"+k] = []string{v}
				keys["aws:TagKeys"] = append(keys["aws:TagKeys"], k)
			}
		}
		if source == "" {
			source = c.SourceIdentity
		}
	}
	if len(pass) > 0 {
		keys["sts:TransitiveTagKeys"] = pass
	}
	keys.Set("sts:SourceIdentity", source)
	actions := []string{"sts:AssumeRole"}
	if tagged {
		actions = append(actions, "sts:TagSession")
	}
	if source != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	checks := make([]access.Check, len(actions))
	for i, action := range actions {
		checks[i] = access.Check{Action: action, Resource: r.RoleARN, Context: keys, Hidden: iam.NotAssumable(c.Principal, action, r.RoleARN)}
	}
	return checks, nil
}

func (a api) assumeRole(ctx context.Context, c wire.Caller, in *awssts.AssumeRoleInput) (*awssts.AssumeRoleOutput, error) {
	r, err := request(in)
	if err != nil {
		return nil, err
	}
	s, err := a.s.AssumeRole(ctx, c.Principal, c.Env.Region, r)
	if err != nil {
		return nil, err
	}
	out := &awssts.AssumeRoleOutput{Credentials: credentials(s), AssumedRoleUser: &types.AssumedRoleUser{Arn: &s.ARN, AssumedRoleId: &s.ID}}
	if s.PackedSize > 0 {
		out.PackedPolicySize = aws.Int32(int32(s.PackedSize))
	}
	if s.SourceIdentity != "" {
		out.SourceIdentity = &s.SourceIdentity
	}
	return out, nil
}

func credentials(s iam.Session) *types.Credentials {
	return &types.Credentials{AccessKeyId: &s.AccessKeyID, SecretAccessKey: &s.Secret, SessionToken: &s.Token, Expiration: &s.Expires}
}

func (a api) getCallerIdentity(_ context.Context, c wire.Caller, _ *awssts.GetCallerIdentityInput) (*awssts.GetCallerIdentityOutput, error) {
	return &awssts.GetCallerIdentityOutput{Account: aws.String(c.Account), Arn: aws.String(c.ARN), UserId: aws.String(c.ID)}, nil
}

func (a api) getSessionToken(ctx context.Context, c wire.Caller, in *awssts.GetSessionTokenInput) (*awssts.GetSessionTokenOutput, error) {
	if err := noMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	s, err := a.s.SessionToken(ctx, c.Principal, time.Duration(aws.ToInt32(in.DurationSeconds))*time.Second)
	if err != nil {
		return nil, err
	}
	return &awssts.GetSessionTokenOutput{Credentials: credentials(s)}, nil
}

// mayGetAccessKeyInfo refuses credentials of GetSessionToken without MFA, which may call nothing in STS but AssumeRole and
// GetCallerIdentity.
func mayGetAccessKeyInfo(_ context.Context, c wire.Caller, _ *awssts.GetAccessKeyInfoInput) ([]access.Check, error) {
	if (c.Kind == access.User || c.Kind == access.Root) && !c.Issued.IsZero() && c.MFA.IsZero() {
		return nil, fault.New(fault.Denied, "Cannot call GetAccessKeyInfo with session credentials")
	}
	return []access.Check{{Action: "sts:GetAccessKeyInfo", Resource: "*"}}, nil
}

func (a api) getAccessKeyInfo(_ context.Context, _ wire.Caller, in *awssts.GetAccessKeyInfoInput) (*awssts.GetAccessKeyInfoOutput, error) {
	account, err := iam.KeyAccount(aws.ToString(in.AccessKeyId))
	if err != nil {
		return nil, err
	}
	return &awssts.GetAccessKeyInfoOutput{Account: &account}, nil
}
