package kmsapi

import (
	"context"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"strongroom/internal/access"
	"strongroom/internal/fault"
	"strongroom/internal/kms"
	"strongroom/internal/wire"
)

func (a *API) rotationOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("EnableKeyRotation", schemas.EnableKeyRotation, schemas.EnableKeyRotationRequest, nil,
			onKey(a, "kms:EnableKeyRotation", ownKeys, func(in *awskms.EnableKeyRotationInput) *string { return in.KeyId }, func(in *awskms.EnableKeyRotationInput, c access.Check) access.Check {
				if in.RotationPeriodInDays == nil {
					return c
				}
				return set(c, "kms:RotationPeriodInDays", strconv.Itoa(int(*in.RotationPeriodInDays)))
			}), a.enableKeyRotation),
		wire.Op("DisableKeyRotation", schemas.DisableKeyRotation, schemas.DisableKeyRotationRequest, nil,
			onKey(a, "kms:DisableKeyRotation", ownKeys, func(in *awskms.DisableKeyRotationInput) *string { return in.KeyId }), a.disableKeyRotation),
		wire.Op("GetKeyRotationStatus", schemas.GetKeyRotationStatus, schemas.GetKeyRotationStatusRequest, schemas.GetKeyRotationStatusResponse,
			onKey(a, "kms:GetKeyRotationStatus", foreignKeys, func(in *awskms.GetKeyRotationStatusInput) *string { return in.KeyId }), a.getKeyRotationStatus),
		wire.Op("RotateKeyOnDemand", schemas.RotateKeyOnDemand, schemas.RotateKeyOnDemandRequest, schemas.RotateKeyOnDemandResponse,
			onKey(a, "kms:RotateKeyOnDemand", ownKeys, func(in *awskms.RotateKeyOnDemandInput) *string { return in.KeyId }), a.rotateKeyOnDemand),
		wire.Op("ListKeyRotations", schemas.ListKeyRotations, schemas.ListKeyRotationsRequest, schemas.ListKeyRotationsResponse,
			onKey(a, "kms:ListKeyRotations", ownKeys, func(in *awskms.ListKeyRotationsInput) *string { return in.KeyId }), a.listKeyRotations),
	}
}

func (a *API) enableKeyRotation(ctx context.Context, c wire.Caller, in *awskms.EnableKeyRotationInput) (*awskms.EnableKeyRotationOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.EnableKeyRotationOutput{}, a.s.EnableRotation(ctx, key, int(aws.ToInt32(in.RotationPeriodInDays)))
}

func (a *API) disableKeyRotation(ctx context.Context, c wire.Caller, in *awskms.DisableKeyRotationInput) (*awskms.DisableKeyRotationOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	return &awskms.DisableKeyRotationOutput{}, a.s.DisableRotation(ctx, key)
}

func (a *API) getKeyRotationStatus(ctx context.Context, c wire.Caller, in *awskms.GetKeyRotationStatusInput) (*awskms.GetKeyRotationStatusOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	k, err := a.s.Describe(ctx, key)
	if err != nil {
		return nil, err
	}
	out := &awskms.GetKeyRotationStatusOutput{KeyId: aws.String(key), KeyRotationEnabled: k.RotationDays > 0 && k.State != kms.PendingDeletion}
	if k.RotationDays > 0 {
		out.RotationPeriodInDays, out.NextRotationDate = aws.Int32(int32(k.RotationDays)), when(k.NextRotation)
	}
	return out, nil
}

func (a *API) rotateKeyOnDemand(ctx context.Context, c wire.Caller, in *awskms.RotateKeyOnDemandInput) (*awskms.RotateKeyOnDemandOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	if _, err := a.s.Rotate(ctx, key); err != nil {
		return nil, err
	}
	return &awskms.RotateKeyOnDemandOutput{KeyId: aws.String(key)}, nil
}

func (a *API) listKeyRotations(ctx context.Context, c wire.Caller, in *awskms.ListKeyRotationsInput) (*awskms.ListKeyRotationsOutput, error) {
	key, err := a.key(ctx, c, in.KeyId, ownKeys)
	if err != nil {
		return nil, err
	}
	p, err := a.page("rotations "+key+" "+string(in.IncludeKeyMaterial), in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	after := 0
	if p.cursor != "" {
		if after, err = strconv.Atoi(p.cursor); err != nil {
			return nil, fault.New(fault.Invalid, "The marker is not one that this list returned").WithCode(kms.CodeInvalidMarker)
		}
	} else if in.IncludeKeyMaterial != kmstypes.IncludeKeyMaterialAllKeyMaterial {
		after = 1 // the first material is no rotation
	}
	list, more, err := a.s.Materials(ctx, key, after, p.limit)
	if err != nil {
		return nil, err
	}
	out := &awskms.ListKeyRotationsOutput{Rotations: []kmstypes.RotationsListEntry{}, Truncated: more}
	for _, m := range list {
		e := kmstypes.RotationsListEntry{KeyId: aws.String(key), KeyMaterialId: aws.String(m.ID), KeyMaterialState: kmstypes.KeyMaterialStateNonCurrent}
		if m.Current {
			e.KeyMaterialState = kmstypes.KeyMaterialStateCurrent
		}
		if m.Type != "" {
			e.RotationType, e.RotationDate = kmstypes.RotationType(m.Type), aws.Time(m.Created)
		}
		out.Rotations = append(out.Rotations, e)
		out.NextMarker = a.next(p, more, strconv.Itoa(m.Ordinal))
	}
	return out, nil
}
