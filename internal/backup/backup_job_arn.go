package backup

import (
	"strings"
	"time"

	"strongroom/internal/arn"
	"strongroom/internal/ident"
)

// pointID is the id in the vault's repository of the recovery point that a backup job makes: the same at every attempt.
func pointID(account, region, jobID string) string {
	return ident.NamedUUID("recovery point", account, region, jobID)
}

// copyPointID is pointID for the recovery point that a copy job makes.
func copyPointID(account, region, jobID string) string {
	return ident.NamedUUID("copied recovery point", account, region, jobID)
}

// pointARN builds the ARN of a recovery point in the form that AWS gives those of its resource type. managed are the region's
// preferences for full management.
func pointARN(resourceType string, managed map[string]bool, account, region, resourceARN, id string, created time.Time) string {
	hex := strings.ReplaceAll(id, "-", "")
	name := resourceARN
	if a, err := arn.Parse(resourceARN); err == nil {
		name = a.Resource
	}
	_, last := cutLast(name)
	switch resourceType {
	case "EBS", "Storage Gateway":
		return arn.Make("ec2", region, "", "snapshot/snap-"+hex[:17])
	case "EC2":
		return arn.Make("ec2", region, "", "image/ami-"+hex[:17])
	case "RDS":
		return arn.Make("rds", region, account, "snapshot:awsbackup:job-"+id)
	case "Aurora", "DocumentDB", "Neptune":
		return arn.Make("rds", region, account, "cluster-snapshot:awsbackup:job-"+id)
	case "DynamoDB":
		if !managed["DynamoDB"] {
			return arn.Make("dynamodb", region, account, "table/"+last+"/backup/"+created.UTC().Format("20060102150405")+"-"+hex[:8])
		}
	case "FSx":
		return arn.Make("fsx", region, account, "backup/backup-"+hex[:17])
	case "Redshift":
		return arn.Make("redshift", region, account, "snapshot:"+last+"/awsbackup:job-"+id)
	case "S3":
		return PointARN(account, region, name+"-"+created.UTC().Format("20060102150405")+"-"+hex[:8])
	}
	return PointARN(account, region, id)
}

// cutLast splits a resource part at its last slash or colon.
func cutLast(s string) (head, last string) {
	i := strings.LastIndexAny(s, "/:")
	return s[:max(i, 0)], s[i+1:]
}

// KnownAtStart reports whether StartBackupJob already tells the recovery point's ARN, as AWS does for these types only.
func (j BackupJob) KnownAtStart() bool {
	return j.ResourceType == "EFS" || j.ResourceType == "DynamoDB" && strings.HasPrefix(j.PointARN, "arn:aws:backup:")
}

// typeOfARN guesses the type of a resource that nobody declares, for the record of its failed job; "" when the ARN does not say.
func typeOfARN(name string) string {
	a, err := arn.Parse(name)
	if err != nil {
		return ""
	}
	for _, t := range [...]struct{ service, prefix, kind string }{
		{"ec2", "volume/", "EBS"}, {"ec2", "instance/", "EC2"}, {"rds", "db:", "RDS"}, {"rds", "cluster:", "Aurora"},
		{"dynamodb", "table/", "DynamoDB"}, {"elasticfilesystem", "file-system/", "EFS"}, {"s3", "", "S3"}, {"fsx", "", "FSx"},
		{"storagegateway", "gateway/", "Storage Gateway"}, {"backup-gateway", "vm/", "VirtualMachine"},
		{"cloudformation", "stack/", "CloudFormation"}, {"timestream", "", "Timestream"}, {"redshift", "cluster:", "Redshift"},
		{"eks", "cluster/", "EKS"}, {"ssm-sap", "", "SAP HANA on Amazon EC2"},
	} {
		if a.Service == t.service && strings.HasPrefix(a.Resource, t.prefix) {
			return t.kind
		}
	}
	return ""
}
