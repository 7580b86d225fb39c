package wire

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// recorder is a handler of all models that keeps what it was asked and answers with zero outputs or those given.
type recorder struct {
	http.Handler
	op, in atomic.Value
}

func record(t testing.TB, answers map[string]any) *recorder {
	r := &recorder{}
	var all []Service
	for _, m := range models() {
		outs := map[string]reflect.Type{}
		for _, op := range m.operations() {
			outs[op.Name] = op.Type.Out(0).Elem()
		}
		all = append(all, m.service(t, func(op string, in any) (any, error) {
			r.op.Store(m.name + ":" + op)
			r.in.Store(&in)
			if a := answers[m.name+":"+op]; a != nil {
				return a, nil
			}
			return reflect.New(outs[op]).Interface(), nil
		}))
	}
	r.Handler = testHandler(t, testConfig(all...))
	return r
}

func (r *recorder) seen() (string, any) { return r.op.Load().(string), *r.in.Load().(*any) }

// Requests as the aws CLI and botocore spell them, which differs from what the Go SDK sends.
func TestRequestsOfBotocore(t *testing.T) {
	t.Parallel()
	h := record(t, nil)
	day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	arn := "arn:aws:ec2:us-east-1::snapshot/snap-1"
	for _, row := range []struct {
		service, method, target, kind, action, body string
		op                                          string
		in                                          any
	}{
		{"backup", "GET", "/backup-vaults/", "", "", "", "backup:ListBackupVaults", &awsbackup.ListBackupVaultsInput{}},
		{"backup", "GET", "/backup-vaults", "", "", "", "backup:ListBackupVaults", &awsbackup.ListBackupVaultsInput{}},
		{"backup", "GET", "/backup-vaults/v-1", "", "", "", "backup:DescribeBackupVault", &awsbackup.DescribeBackupVaultInput{BackupVaultName: aws.String("v-1")}},
		{"backup", "PUT", "/backup-jobs", "application/json", "", `{"BackupVaultName":"v","ResourceArn":"a","Unknown":{"x":[1,null,"\u00e9"]},"StartWindowMinutes":60,"Lifecycle":null}`, "backup:StartBackupJob",
			&awsbackup.StartBackupJobInput{BackupVaultName: aws.String("v"), ResourceArn: aws.String("a"), StartWindowMinutes: aws.Int64(60)}},
		{"backup", "GET", "/backup-jobs/", "", "", "", "backup:ListBackupJobs", &awsbackup.ListBackupJobsInput{}},
		{"backup", "GET", "/backup-jobs/?state=COMPLETED&accountId=*&createdAfter=2024-01-01T00%3A00%3A00Z&createdBefore=1704067200&maxResults=7&nope=1", "", "", "", "backup:ListBackupJobs",
			&awsbackup.ListBackupJobsInput{ByState: backuptypes.BackupJobStateCompleted, ByAccountId: aws.String("*"), ByCreatedAfter: &day, ByCreatedBefore: &day, MaxResults: aws.Int32(7)}},
		{"backup", "GET", "/backup-jobs/ID-1", "", "", "", "backup:DescribeBackupJob", &awsbackup.DescribeBackupJobInput{BackupJobId: aws.String("ID-1")}},
		{"backup", "POST", "/backup-jobs/ID-1", "", "", "", "backup:StopBackupJob", &awsbackup.StopBackupJobInput{BackupJobId: aws.String("ID-1")}},
		{"backup", "GET", "/backup-vaults/v/recovery-points/arn%3Aaws%3Aec2%3Aus-east-1%3A%3Asnapshot%2Fsnap-1", "", "", "", "backup:DescribeRecoveryPoint",
			&awsbackup.DescribeRecoveryPointInput{BackupVaultName: aws.String("v"), RecoveryPointArn: &arn}},
		{"backup", "GET", "/backup-vaults/v/recovery-points/", "", "", "", "backup:ListRecoveryPointsByBackupVault", &awsbackup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String("v")}},
		{"backup", "GET", "/backup/plans/orgs%2F1234/", "", "", "", "backup:GetBackupPlan", &awsbackup.GetBackupPlanInput{BackupPlanId: aws.String("orgs/1234")}},
		{"backup", "GET", "/tags/" + strings.ReplaceAll(strings.ReplaceAll(arn, ":", "%3A"), "/", "%2F") + "/", "", "", "", "backup:ListTags", &awsbackup.ListTagsInput{ResourceArn: &arn}},
		{"backup", "POST", "/backup-vaults/v/mpaApprovalTeam?delete", "application/json", "", "{}", "backup:DisassociateBackupVaultMpaApprovalTeam",
			&awsbackup.DisassociateBackupVaultMpaApprovalTeamInput{BackupVaultName: aws.String("v")}},
		{"backup", "GET", "/backup/template/plans", "", "", "", "backup:ListBackupPlanTemplates", &awsbackup.ListBackupPlanTemplatesInput{}},
		{"backup", "POST", "/backup/template/json/toPlan", "", "", `{"BackupPlanTemplateJson":"{}"}`, "backup:GetBackupPlanFromJSON", &awsbackup.GetBackupPlanFromJSONInput{BackupPlanTemplateJson: aws.String("{}")}},
		{"kms", "POST", "/", "application/x-amz-json-1.1", "TrentService.Encrypt", `{"KeyId":"k","Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`, "kms:Encrypt",
			&awskms.EncryptInput{KeyId: aws.String("k"), Plaintext: []byte("hi"), EncryptionContext: map[string]string{"a": "b"}}},
		{"organizations", "POST", "/", "application/x-amz-json-1.1", "AWSOrganizationsV20161128.DescribeOrganization", `{}`, "organizations:DescribeOrganization", &awsorg.DescribeOrganizationInput{}},
		{"organizations", "POST", "/", "application/x-amz-json-1.1", "AWSOrganizationsV20161128.DescribeOrganization", ``, "organizations:DescribeOrganization", &awsorg.DescribeOrganizationInput{}},
		{"iam", "POST", "/", formType + "; charset=utf-8", "", "Action=CreateUser&Version=2010-05-08&UserName=a+b%2Bc&Tags.member.2.Key=k2&Tags.member.2.Value=&Tags.member.1.Key=k1&Tags.member.1.Value=v", "iam:CreateUser",
			&awsiam.CreateUserInput{UserName: aws.String("a b+c"), Tags: []iamtypes.Tag{{Key: aws.String("k1"), Value: aws.String("v")}, {Key: aws.String("k2"), Value: aws.String("")}}}},
		{"sts", "POST", "/", formType, "", "Action=AssumeRole&Version=2011-06-15&RoleArn=r&RoleSessionName=s&PolicyArns.member.1.arn=p&TransitiveTagKeys=", "sts:AssumeRole",
			&awssts.AssumeRoleInput{RoleArn: aws.String("r"), RoleSessionName: aws.String("s"), PolicyArns: []ststypes.PolicyDescriptorType{{Arn: aws.String("p")}}, TransitiveTagKeys: []string{}}},
		{"sts", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "", "", "", "sts:GetCallerIdentity", &awssts.GetCallerIdentityInput{}},
	} {
		w := send(t, h, row.service, row.method, row.target, row.kind, row.action, row.body)
		if w.Code >= 300 {
			t.Errorf("%s %s: %d %s", row.method, row.target, w.Code, w.Body)
			continue
		}
		if op, in := h.seen(); op != row.op || !reflect.DeepEqual(in, row.in) {
			t.Errorf("%s %s: %s\ngot  %+v\nwant %+v", row.method, row.target, op, text(in), text(row.in))
		}
	}
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	h := record(t, nil)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for _, row := range []struct{ service, method, target, action, body string }{
		{"backup", "PUT", "/backup-jobs", "", `{"BackupVaultName":"a","BackupVaultName":"b"}`},
		{"backup", "PUT", "/backup-jobs", "", `{"x":{"y":1,"y":2}}`},
		{"backup", "PUT", "/backup-jobs", "", `{"x":` + deep + `}`},
		{"backup", "PUT", "/backup-jobs", "", `{"StartWindowMinutes":1.5}`},
		{"backup", "PUT", "/backup-jobs", "", `{"StartWindowMinutes":"1"}`},
		{"backup", "PUT", "/backup-jobs", "", `{"StartWindowMinutes":01}`},
		{"backup", "PUT", "/backup-jobs", "", `{"StartWindowMinutes":99999999999999999999}`},
		{"backup", "PUT", "/backup-jobs", "", `{"BackupVaultName":"a"}x`},
		{"backup", "PUT", "/backup-jobs", "", `{"BackupVaultName":"a",}`},
		{"backup", "PUT", "/backup-jobs", "", `{"BackupVaultName":"a`},
		{"backup", "PUT", "/backup-jobs", "", "{\"BackupVaultName\":\"a\x01\"}"},
		{"backup", "PUT", "/backup-jobs", "", "{\"BackupVaultName\":\"\xff\"}"},
		{"backup", "PUT", "/backup-jobs", "", `{"BackupVaultName":"\ud800"}`},
		{"backup", "PUT", "/backup-jobs", "", `{"x":[` + strings.Repeat("{},", maxValues) + `{}]}`},
		{"backup", "PUT", "/backup/plans", "", `{"BackupPlan":{"Rules":[` + strings.Repeat("{},", maxValues) + `{}]}}`},
		{"backup", "PUT", "/backup-jobs", "", `[]`},
		{"backup", "PUT", "/backup-jobs", "", `null`},
		{"backup", "GET", "/backup-jobs/?maxResults=1&maxResults=2", "", ""},
		{"backup", "GET", "/backup-jobs/?maxResults=x", "", ""},
		{"backup", "GET", "/backup-jobs/?createdAfter=yesterday", "", ""},
		{"kms", "POST", "/", "TrentService.Encrypt", `{"Plaintext":"no base64"}`},
		{"kms", "POST", "/", "TrentService.Encrypt", `{"GrantTokens":["a",null]}`},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&UserName=a&UserName=b"},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&Tags.member.x.Key=a"},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&Tags.member.0.Key=a"},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&UserName.a=b"},
		{"iam", "POST", "/", "", "Action=ListUsers&Version=2010-05-08&MaxItems=1x"},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&UserName=%zz"},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&" + strings.Repeat("a=&", maxParams+1)},
		{"iam", "POST", "/", "", "Action=CreateUser&Version=2010-05-08&" + strings.Repeat("a.", maxParamDepth+1) + "=1"},
	} {
		kind := formType
		if row.service != "iam" {
			kind = "application/json"
		}
		w := send(t, h, row.service, row.method, row.target, kind, row.action, row.body)
		if w.Code != 400 {
			t.Errorf("%s %s %.80s: %d %s", row.service, row.target, row.body, w.Code, w.Body)
		}
	}
}

// The unmodified aws CLI understands the replies, one call for each protocol and shape of reply.
func TestTheRealCLI(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the aws CLI is required in CI")
		}
		t.Skip("no aws CLI here")
	}
	if testing.Short() {
		t.Skip("starts a dozen Python processes")
	}
	day := time.Date(2024, 1, 1, 0, 0, 0, 87e6, time.UTC)
	h := record(t, map[string]any{
		"backup:DescribeBackupVault":      &awsbackup.DescribeBackupVaultOutput{BackupVaultName: aws.String("v"), CreationDate: &day},
		"backup:ListBackupVaults":         &awsbackup.ListBackupVaultsOutput{BackupVaultList: []backuptypes.BackupVaultListMember{}},
		"organizations:ListRoots":         &awsorg.ListRootsOutput{Roots: []orgtypes.Root{{Id: aws.String("r-abcd")}}},
		"kms:Encrypt":                     &awskms.EncryptOutput{CiphertextBlob: []byte("sealed")},
		"sts:GetCallerIdentity":           &awssts.GetCallerIdentityOutput{Account: aws.String("111111111111"), Arn: aws.String("arn:aws:iam::111111111111:root")},
		"iam:ListUsers":                   &awsiam.ListUsersOutput{Users: []iamtypes.User{{UserName: aws.String("a<b>&c"), CreateDate: &day}}},
		"iam:GetAccountSummary":           &awsiam.GetAccountSummaryOutput{SummaryMap: map[string]int32{"Users": 2}},
		"backup:ListTags":                 &awsbackup.ListTagsOutput{Tags: map[string]string{"é": "ü"}},
		"backup:DeleteRestoreTestingPlan": &awsbackup.DeleteRestoreTestingPlanOutput{},
	})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	for _, row := range []struct{ args, want string }{
		{"backup describe-backup-vault --backup-vault-name v", `"NumberOfRecoveryPoints": 0`},
		{"backup describe-backup-vault --backup-vault-name v --query CreationDate", `.087`},
		{"backup list-backup-vaults", `"BackupVaultList": []`},
		{"backup list-tags --resource-arn arn:aws:backup:us-east-1:111111111111:recovery-point:A+b/c%20(é)*", `"é": "ü"`},
		{"backup delete-restore-testing-plan --restore-testing-plan-name x", ``},
		{"organizations list-roots", `"Id": "r-abcd"`},
		{"kms encrypt --key-id k --plaintext aGk= --query CiphertextBlob", `"c2VhbGVk"`},
		{"sts get-caller-identity --region my-dc-1", `"Account": "111111111111"`},
		{"iam list-users", `"UserName": "a<b>&c"`},
		{"iam get-account-summary", `"Users": 2`},
		{"iam tag-user --user-name u --tags Key=a,Value=b", ``},
		{"sts get-caller-identity --region mars", `(SignatureDoesNotMatch) when calling the GetCallerIdentity operation: Credential should be scoped to a valid Region, not 'mars'.`},
	} {
		t.Run(row.args, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("aws", append([]string{"--endpoint-url", s.URL, "--output", "json"}, strings.Fields(row.args)...)...)
			cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+testKey, "AWS_SECRET_ACCESS_KEY="+testSecret, "AWS_SESSION_TOKEN=", "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1",
				"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1")
			out, _ := cmd.CombinedOutput()
			if !strings.Contains(string(out), row.want) || row.want == "" && len(out) > 0 {
				t.Errorf("got %s", out)
			}
		})
	}
}
