package backup

import (
	"context"
	"strings"
	"testing"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

const testRole = "arn:aws:iam::111111111111:role/Backup"

func testPlan() Plan {
	return Plan{Name: "daily", Rules: []Rule{{
		Name: "r", Vault: "main", Schedule: "cron(0 5 * * ? *)", StartMinutes: 60, CompleteMinutes: 180,
		Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(30)},
	}}}
}

// plan makes a plan in the test account.
func (f *fixture) plan(p Plan) PlanRecord {
	f.t.Helper()
	r, err := f.CreatePlan(context.Background(), testAccount, testRegion, p, nil, "")
	must(f.t, err)
	return r
}

func TestPlanDocumentIsValidated(t *testing.T) {
	t.Parallel()
	onEach(t, planDocuments)
}

func planDocuments(t *testing.T, f *fixture) {
	days := func(move, remove int64) *schedule.Lifecycle {
		return &schedule.Lifecycle{MoveToColdAfterDays: schedule.Days(move), DeleteAfterDays: schedule.Days(remove)}
	}
	dest := "arn:aws:backup:us-east-1:222222222222:backup-vault:isolated"
	for _, c := range []struct {
		name   string
		change func(*Plan)
		want   string
	}{
		{"no rules", func(p *Plan) { p.Rules = nil }, "from 1 to 10 rules"},
		{"plan name", func(p *Plan) { p.Name = "a b" }, "Invalid backup plan name"},
		{"rule name", func(p *Plan) { p.Rules[0].Name = "" }, "Invalid rule name"},
		{"same name twice", func(p *Plan) { p.Rules = append(p.Rules, p.Rules[0]) }, "Error in rule r : Two rules"},
		{"vault", func(p *Plan) { p.Rules[0].Vault = "x" }, "Invalid TargetBackupVaultName"},
		{"minute 61", func(p *Plan) { p.Rules[0].Schedule = "cron(61 3 * * ? *)" }, "Error in rule r : Invalid ScheduleExpression \"cron(61 3 * * ? *)\": minutes field: 61 is out of range"},
		{"every half hour", func(p *Plan) { p.Rules[0].Schedule = "cron(0,30 3 * * ? *)" }, "at most once an hour"},
		{"never", func(p *Plan) { p.Rules[0].Schedule = "cron(0 0 31 2 ? *)" }, "it never runs"},
		{"zone", func(p *Plan) { p.Rules[0].Timezone = "Mars/Olympus" }, "Invalid ScheduleExpressionTimezone"},
		{"start window", func(p *Plan) { p.Rules[0].StartMinutes = 59 }, "Invalid StartWindowMinutes 59"},
		{"completion window", func(p *Plan) { p.Rules[0].CompleteMinutes = 60 }, "longer than the start window"},
		{"lifecycle", func(p *Plan) { p.Rules[0].Lifecycle = days(30, 30) }, "Error in rule r : Invalid lifecycle."},
		{"copy vault", func(p *Plan) {
			p.Rules[0].Copies = []CopyAction{{VaultARN: "arn:aws:backup:us-east-1:1:backup-vault:x"}}
		}, "not the ARN of a backup vault"},
		{"copy twice", func(p *Plan) { p.Rules[0].Copies = []CopyAction{{VaultARN: dest}, {VaultARN: dest}} }, "Two copy actions"},
		{"copy lifecycle", func(p *Plan) { p.Rules[0].Copies = []CopyAction{{VaultARN: dest, Lifecycle: days(9, 3)}} }, "Invalid lifecycle."},
		{"tags", func(p *Plan) { p.Rules[0].Tags = map[string]string{"aws:x": "y"} }, "reserved"},
		{"options of EFS", func(p *Plan) {
			p.Advanced = []AdvancedSetting{{ResourceType: "EFS", Options: map[string]string{"X": "enabled"}}}
		}, "advanced backup setting"},
		{"option value", func(p *Plan) {
			p.Advanced = []AdvancedSetting{{ResourceType: "S3", Options: map[string]string{"BackupACLs": "on"}}}
		}, "Invalid backup option"},
	} {
		p := testPlan()
		c.change(&p)
		_, err := f.CreatePlan(context.Background(), testAccount, testRegion, p, nil, "")
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if strings.Contains(c.want, "Error in rule") {
			if e := fault.As(err); e.Code != "ERROR_3015" || !strings.HasPrefix(e.Context, `["r",`) {
				t.Errorf("%s: code %q, context %q", c.name, e.Code, e.Context)
			}
		}
	}
	bare := Plan{Name: "defaults", Rules: []Rule{{Name: "r", Vault: "main", Copies: []CopyAction{{VaultARN: dest, Lifecycle: &schedule.Lifecycle{DeleteAfterDays: schedule.Days(-1)}}}}}}
	r := f.plan(bare)
	if got := r.Rules[0]; got.StartMinutes != 480 || got.CompleteMinutes != 10080 || got.Schedule != DefaultSchedule || got.Timezone != "Etc/UTC" {
		t.Errorf("defaults: %+v", got)
	}
}

func TestPlansHaveVersions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		first, err := f.CreatePlan(ctx, testAccount, testRegion, testPlan(), map[string]string{"team": "x"}, "token-1")
		must(t, err)
		if again, err := f.CreatePlan(ctx, testAccount, testRegion, testPlan(), nil, "token-1"); err != nil || again.ID != first.ID {
			t.Fatalf("the same request: %+v, %v", again, err)
		}
		_, err = f.CreatePlan(ctx, testAccount, testRegion, testPlan(), nil, "token-2")
		want(t, err, fault.Exists, "")
		if e := fault.As(err); e.Msg != "Backup plan with the same plan document already exists" || e.Detail["Arn"] != first.ARN() || e.Detail["CreatorRequestId"] != "token-1" {
			t.Fatalf("%+v", e)
		}
		if _, err := f.CreatePlan(ctx, testOther, testRegion, testPlan(), nil, ""); err != nil {
			t.Fatalf("another account's plan: %v", err)
		}
		f.clock.Advance(time.Hour)
		changed := testPlan()
		changed.Rules[0].StartMinutes = 90
		changed.Rules = append(changed.Rules, Rule{Name: "weekly", Vault: "main", Schedule: "cron(0 7 ? * 1 *)"})
		second, err := f.UpdatePlan(ctx, testAccount, testRegion, first.ID, changed)
		must(t, err)
		if second.VersionID == first.VersionID || len(second.VersionID) != 48 || second.Rules[0].ID != first.Rules[0].ID || second.Rules[1].ID == "" || !second.Created.After(first.Created) {
			t.Fatalf("second version %+v", second)
		}
		changed.Name = "other"
		_, err = f.UpdatePlan(ctx, testAccount, testRegion, first.ID, changed)
		want(t, err, fault.Invalid, "")
		if got, err := f.Plan(ctx, testAccount, testRegion, first.ID, first.VersionID, 0); err != nil || len(got.Rules) != 1 {
			t.Fatalf("old version: %+v %v", got, err)
		}
		got, err := f.Plan(ctx, testAccount, testRegion, first.ID, "", 3)
		must(t, err)
		// 2026-03-01 is a Sunday; it is 13:00.
		if len(got.Upcoming) != 3 || !got.Upcoming[0].At.Equal(time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC)) {
			t.Fatalf("preview %v", got.Upcoming)
		}
		list, next, err := f.PlanVersions(ctx, testAccount, testRegion, first.ID, Page{Limit: 1})
		must(t, err)
		if len(list) != 1 || list[0].VersionID != second.VersionID || next == "" {
			t.Fatalf("versions %+v %q", list, next)
		}
		list, next, err = f.PlanVersions(ctx, testAccount, testRegion, first.ID, Page{Limit: 1, Token: next})
		must(t, err)
		if len(list) != 1 || list[0].VersionID != first.VersionID || next != "" {
			t.Fatalf("versions %+v %q", list, next)
		}
		_, err = f.Plan(ctx, testOther, testRegion, first.ID, "", 0)
		want(t, err, fault.NotFound, "")
		_, err = f.Plan(ctx, testAccount, "eu-west-1", first.ID, "", 0)
		want(t, err, fault.NotFound, "")
	})
}

func TestAPlanIsDeletedWithoutSelectionsOnly(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		p := f.plan(testPlan())
		sel, err := f.CreateSelection(ctx, testAccount, testRegion, p.ID, Selection{Name: "s", RoleARN: testRole, Resources: []string{testFS}}, "")
		must(t, err)
		_, err = f.DeletePlan(ctx, testAccount, testRegion, p.ID)
		want(t, err, fault.State, "")
		if got := fault.As(err).Msg; got != "Related backup plan selections must be deleted prior to backup plan deletion" {
			t.Fatal(got)
		}
		must(t, f.DeleteSelection(ctx, testAccount, testRegion, p.ID, sel.ID))
		gone, err := f.DeletePlan(ctx, testAccount, testRegion, p.ID)
		must(t, err)
		if gone.Deleted.IsZero() || gone.VersionID != p.VersionID {
			t.Fatalf("%+v", gone)
		}
		_, err = f.Plan(ctx, testAccount, testRegion, p.ID, "", 0)
		want(t, err, fault.NotFound, "")
		if old, err := f.Plan(ctx, testAccount, testRegion, p.ID, p.VersionID, 0); err != nil || old.Deleted.IsZero() {
			t.Fatalf("old version %+v %v", old, err)
		}
		if list, _, _ := f.Plans(ctx, testAccount, testRegion, false, Page{}); len(list) != 0 {
			t.Fatalf("listed: %+v", list)
		}
		if list, _, _ := f.Plans(ctx, testAccount, testRegion, true, Page{}); len(list) != 1 {
			t.Fatalf("not listed with the deleted ones: %+v", list)
		}
		_, err = f.Selection(ctx, testAccount, testRegion, p.ID, sel.ID)
		want(t, err, fault.Invalid, "")
		if !strings.Contains(err.Error(), "Cannot find Backup plan") {
			t.Fatal(err)
		}
		if at, ok, _ := f.NextSchedule(ctx); ok {
			t.Fatalf("a deleted plan is due at %v", at)
		}
		f.plan(testPlan()) // the same document is free again
	})
}

func TestSelectionsAreValidated(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		p := f.plan(testPlan())
		for _, c := range []struct {
			name string
			sel  Selection
			kind fault.Kind
			want string
		}{
			{"nothing", Selection{Name: "s", RoleARN: testRole}, fault.Invalid, "Invalid backup selection. Either 'ListOfTags' or 'Resources' section must be non-empty."},
			{"conditions alone", Selection{Name: "s", RoleARN: testRole, Conditions: Conditions{Equals: []KeyValue{{"aws:ResourceTag/a", "b"}}}}, fault.Invalid, "Either 'ListOfTags' or 'Resources'"},
			{"bare condition key", Selection{Name: "s", RoleARN: testRole, Resources: []string{"*"}, Conditions: Conditions{Like: []KeyValue{{"a", "b"}}}}, fault.Invalid, "aws:ResourceTag/"},
			{"prefixed tag", Selection{Name: "s", RoleARN: testRole, Tags: []KeyValue{{"aws:ResourceTag/a", "b"}}}, fault.Invalid, "bare tag keys"},
			{"no ARN", Selection{Name: "s", RoleARN: testRole, Resources: []string{"/srv/app"}}, fault.Invalid, "is not an ARN"},
			{"foreign role", Selection{Name: "s", RoleARN: "arn:aws:iam::222222222222:role/Backup", Resources: []string{"*"}}, fault.Invalid, "IAM Role arn:aws:iam::222222222222:role/Backup cannot be assumed by AWS Backup"},
			{"no role", Selection{Name: "s", Resources: []string{"*"}}, fault.Missing, "IamRoleArn"},
			{"31 patterns", Selection{Name: "s", RoleARN: testRole, Resources: strings.Split(strings.Repeat("arn:aws:ec2:* ", 30)+"*", " ")}, fault.Limit, "30 ARN patterns"},
		} {
			_, err := f.CreateSelection(ctx, testAccount, testRegion, p.ID, c.sel, "")
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		sel := Selection{Name: "s", RoleARN: testRole, Tags: []KeyValue{{"Criticality", "high"}}}
		made, err := f.CreateSelection(ctx, testAccount, testRegion, p.ID, sel, "token")
		must(t, err)
		if again, err := f.CreateSelection(ctx, testAccount, testRegion, p.ID, sel, "token"); err != nil || again.ID != made.ID {
			t.Fatalf("the same request: %+v %v", again, err)
		}
		_, err = f.CreateSelection(ctx, testAccount, testRegion, p.ID, sel, "other")
		want(t, err, fault.Exists, "")
		_, err = f.CreateSelection(ctx, testAccount, testRegion, "nope", sel, "")
		want(t, err, fault.Invalid, "")
		_, err = f.Selection(ctx, testAccount, testRegion, p.ID, "nope")
		want(t, err, fault.NotFound, "")
		want(t, f.DeleteSelection(ctx, testAccount, testRegion, p.ID, "nope"), fault.Invalid, "")
		if list, next, err := f.Selections(ctx, testAccount, testRegion, p.ID, Page{}); err != nil || len(list) != 1 || next != "" || list[0].Name != "s" {
			t.Fatalf("%+v %q %v", list, next, err)
		}
	})
}
