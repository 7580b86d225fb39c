package wire

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"strongroom/internal/fault"
)

// compiled compiles a table for one input type.
func compiled(t *testing.T, table Constraints, in any, name string, unions ...any) (*limits, *plan) {
	t.Helper()
	pl := &planner{plans: map[reflect.Type]*plan{}}
	for _, u := range unions {
		pl.unions = append(pl.unions, reflect.TypeOf(u))
	}
	p, err := pl.plan(reflect.TypeOf(in).Elem())
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&limiter{table: table, done: map[limitsOf]*limits{}}).compile(p, name)
	if err != nil {
		t.Fatal(err)
	}
	return l, p
}

func TestConstraints(t *testing.T) {
	t.Parallel()
	table := Constraints{
		Structures: map[string]map[string]Member{
			"In":   {"BackupPlan": {Required: true, Type: "Plan"}, "BackupPlanTags": {Type: "Tags"}, "CreatorRequestId": {Type: "Short"}},
			"Plan": {"BackupPlanName": {Required: true}, "Rules": {Required: true, Type: "Rules"}},
			"Rule": {"RuleName": {Required: true, Type: "Name"}, "StartWindowMinutes": {Type: "Minutes"}, "CopyActions": {Type: "Copies"}},
			"Copy": {"DestinationBackupVaultArn": {Required: true}},
		},
		Limits: map[string]Limit{
			"Rules": {Min: At(1), Max: At(2), Item: "Rule"}, "Name": {Pattern: `[a-z]+|x`}, "Minutes": {Min: At(60), Max: At(100)},
			"Copies": {Item: "Copy"}, "Tags": {Key: "Key", Item: "Value", Sensitive: true}, "Key": {Max: At(3)}, "Value": {Pattern: `[a-z]*`}, "Short": {Min: At(2), Max: At(3)},
		},
	}
	l, p := compiled(t, table, &awsbackup.CreateBackupPlanInput{}, "In")
	rule := func(change func(*backuptypes.BackupRuleInput)) *awsbackup.CreateBackupPlanInput {
		r := backuptypes.BackupRuleInput{RuleName: aws.String("r")}
		change(&r)
		return &awsbackup.CreateBackupPlanInput{BackupPlan: &backuptypes.BackupPlanInput{BackupPlanName: aws.String("p"), Rules: []backuptypes.BackupRuleInput{{RuleName: aws.String("ok")}, r}}}
	}
	nothing := func(*backuptypes.BackupRuleInput) {}
	with := func(change func(*awsbackup.CreateBackupPlanInput)) *awsbackup.CreateBackupPlanInput {
		in := rule(nothing)
		change(in)
		return in
	}
	for _, row := range []struct {
		name string
		in   *awsbackup.CreateBackupPlanInput
		path string
		rule Rule
		text string
	}{
		{"OK", rule(nothing), "", "", ""},
		{"ErrTop", &awsbackup.CreateBackupPlanInput{}, "BackupPlan", Required, "Value null at 'backupPlan' failed to satisfy constraint: Member must not be null"},
		{"ErrNested", &awsbackup.CreateBackupPlanInput{BackupPlan: &backuptypes.BackupPlanInput{Rules: []backuptypes.BackupRuleInput{}}}, "BackupPlan.BackupPlanName", Required, ""},
		{"ErrEmptyList", &awsbackup.CreateBackupPlanInput{BackupPlan: &backuptypes.BackupPlanInput{BackupPlanName: aws.String(""), Rules: []backuptypes.BackupRuleInput{}}}, "BackupPlan.Rules", MinLength, "Value '[0 items]'"},
		{"ErrItem", rule(func(r *backuptypes.BackupRuleInput) { r.RuleName = nil }), "BackupPlan.Rules[1].RuleName", Required, "'backupPlan.rules.2.member.ruleName'"},
		{"ErrPatternIsOfTheWhole", rule(func(r *backuptypes.BackupRuleInput) { r.RuleName = aws.String("x1") }), "BackupPlan.Rules[1].RuleName", Pattern, "Member must satisfy regular expression pattern: [a-z]+|x"},
		{"ErrPatternNewline", rule(func(r *backuptypes.BackupRuleInput) { r.RuleName = aws.String("x\n") }), "BackupPlan.Rules[1].RuleName", Pattern, ""},
		{"ErrMin", rule(func(r *backuptypes.BackupRuleInput) { r.StartWindowMinutes = aws.Int64(59) }), "BackupPlan.Rules[1].StartWindowMinutes", MinValue, "Value '59'"},
		{"ErrMax", rule(func(r *backuptypes.BackupRuleInput) { r.StartWindowMinutes = aws.Int64(101) }), "BackupPlan.Rules[1].StartWindowMinutes", MaxValue, "less than or equal to 100"},
		{"ErrDeep", rule(func(r *backuptypes.BackupRuleInput) { r.CopyActions = []backuptypes.CopyAction{{}} }), "BackupPlan.Rules[1].CopyActions[0].DestinationBackupVaultArn", Required, ""},
		{"ErrLong", with(func(in *awsbackup.CreateBackupPlanInput) { in.CreatorRequestId = aws.String("éééé") }), "CreatorRequestId", MaxLength, ""},
		{"OKCharactersNotBytes", with(func(in *awsbackup.CreateBackupPlanInput) { in.CreatorRequestId = aws.String("ééé") }), "", "", ""},
		{"ErrMapKey", with(func(in *awsbackup.CreateBackupPlanInput) { in.BackupPlanTags = map[string]string{"hidden": "a"} }), "BackupPlanTags[key]", MaxLength, "Value '***' at 'backupPlanTags.key'"},
		{"ErrMapValue", with(func(in *awsbackup.CreateBackupPlanInput) { in.BackupPlanTags = map[string]string{"k": "HIDDEN"} }), "BackupPlanTags[value]", Pattern, "'***'"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			v := l.check(p, reflect.ValueOf(row.in).Elem())
			if v == nil {
				v = &Violation{}
			}
			if v.Path != row.path || v.Rule != row.rule || row.text != "" && !strings.Contains(v.Message(), row.text) {
				t.Errorf("got %+v %s", v, v.Message())
			}
			if strings.Contains(strings.ToLower(v.Message()), "hidden") {
				t.Errorf("sensitive value in %s", v.Message())
			}
			if want := map[bool]fault.Kind{true: fault.Missing, false: fault.Invalid}[v.Rule == Required]; v.Rule != "" && v.Fault().Kind != want {
				t.Errorf("kind %s", v.Fault().Kind)
			}
		})
	}
}

func TestEnumsAreCheckedWithoutATable(t *testing.T) {
	t.Parallel()
	l, p := compiled(t, Constraints{}, &awsbackup.ListBackupJobsInput{}, "")
	v := l.check(p, reflect.ValueOf(&awsbackup.ListBackupJobsInput{ByState: "SLEEPING"}).Elem())
	if v == nil || v.Path != "ByState" || v.Rule != Enum || !strings.Contains(v.Message(), "Member must satisfy enum value set: [CREATED, PENDING, ") {
		t.Errorf("got %+v", v)
	}
	if v := l.check(p, reflect.ValueOf(&awsbackup.ListBackupJobsInput{}).Elem()); v != nil {
		t.Errorf("an absent enum: %+v", v)
	}
}

func TestConstraintsOfUnions(t *testing.T) {
	t.Parallel()
	table := Constraints{
		Structures: map[string]map[string]Member{"In": {"PolicyExclusionList": {Type: "List"}}, "Id": {"PolicyArn": {Type: "Arn"}}},
		Limits:     map[string]Limit{"List": {Item: "Id"}, "Arn": {Min: At(20)}},
	}
	l, p := compiled(t, table, &awsiam.SimulatePrincipalPolicyInput{}, "In", (*iamtypes.PolicyIdentifierMemberPolicyArn)(nil))
	v := l.check(p, reflect.ValueOf(&awsiam.SimulatePrincipalPolicyInput{PolicyExclusionList: []iamtypes.PolicyIdentifier{&iamtypes.PolicyIdentifierMemberPolicyArn{Value: "arn"}}}).Elem())
	if v == nil || v.Path != "PolicyExclusionList[0].PolicyArn" || v.Rule != MinLength {
		t.Errorf("got %+v", v)
	}
}

func TestLimitsOnUnknownMembersAreRefused(t *testing.T) {
	t.Parallel()
	pl := &planner{plans: map[reflect.Type]*plan{}}
	p, err := pl.plan(reflect.TypeFor[awsbackup.ListBackupJobsInput]())
	if err != nil {
		t.Fatal(err)
	}
	table := Constraints{Structures: map[string]map[string]Member{"In": {"Nothing": {Required: true}}}}
	if _, err := (&limiter{table: table, done: map[limitsOf]*limits{}}).compile(p, "In"); err == nil {
		t.Error("accepted")
	}
}
