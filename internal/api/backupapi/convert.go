package backupapi

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"strongroom/internal/backup"
	"strongroom/internal/schedule"
)

// text leaves an empty string out of a reply.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// when leaves a zero time out of a reply.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func page(maxResults *int32, token *string) backup.Page {
	return backup.Page{Limit: int(aws.ToInt32(maxResults)), Token: aws.ToString(token)}
}

// fromLifecycle reads a lifecycle; an absent one is the zero value.
func fromLifecycle(l *backuptypes.Lifecycle) schedule.Lifecycle {
	if l == nil {
		return schedule.Lifecycle{}
	}
	return schedule.Lifecycle{MoveToColdAfterDays: l.MoveToColdStorageAfterDays, DeleteAfterDays: l.DeleteAfterDays, OptInToArchive: l.OptInToArchiveForSupportedResources}
}

// toLifecycle writes a lifecycle; one without any member is left out.
func toLifecycle(l schedule.Lifecycle) *backuptypes.Lifecycle {
	if l == (schedule.Lifecycle{}) {
		return nil
	}
	return &backuptypes.Lifecycle{MoveToColdStorageAfterDays: l.MoveToColdAfterDays, DeleteAfterDays: l.DeleteAfterDays, OptInToArchiveForSupportedResources: l.OptInToArchive}
}

func toCalculated(moveAt, deleteAt time.Time) *backuptypes.CalculatedLifecycle {
	if moveAt.IsZero() && deleteAt.IsZero() {
		return nil
	}
	return &backuptypes.CalculatedLifecycle{MoveToColdStorageAt: when(moveAt), DeleteAt: when(deleteAt)}
}

func keyType(serviceKey bool) backuptypes.EncryptionKeyType {
	if serviceKey {
		return backuptypes.EncryptionKeyTypeAwsOwnedKmsKey
	}
	return backuptypes.EncryptionKeyTypeCustomerManagedKmsKey
}
