package backup

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strongroom/internal/arn"
)

var selectable = []Resource{
	{ARN: "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-1", Type: "EFS", Tags: map[string]string{"backup": "true", "stage": "prod"}},
	{ARN: "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-2", Type: "EFS", Tags: map[string]string{"tier": "gold", "stage": "test"}},
	{ARN: "arn:aws:ec2:us-east-1:111111111111:volume/vol-1", Type: "EBS", Tags: map[string]string{"backup": "true"}},
	{ARN: "arn:aws:s3:::app-uploads", Type: "S3"},
	{ARN: "arn:aws:fsx:us-east-1:111111111111:file-system/fsx-1", Type: "FSx"},
	{ARN: "arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-3", Type: "EFS", Name: "awsbackup-restore-test-1", Tags: map[string]string{"backup": "true"}},
}

func TestSelectionMatch(t *testing.T) {
	t.Parallel()
	all := map[string]bool{"EFS": true, "EBS": true, "S3": true, "FSx": true}
	noFiles := map[string]bool{"EBS": true, "S3": true}
	tag := func(k, v string) []KeyValue { return []KeyValue{{"aws:ResourceTag/" + k, v}} }
	for _, c := range []struct {
		name       string
		sel        Selection
		optIn      map[string]bool
		want       string
		undeclared string
	}{
		{"everything", Selection{Resources: []string{"*"}}, all, "fs-1 fs-2 vol-1 app-uploads fsx-1", ""},
		{"all but volumes", Selection{Resources: []string{"*"}, NotResources: []string{"arn:aws:ec2:*:*:volume/*"}}, all, "fs-1 fs-2 app-uploads fsx-1", ""},
		{"both tags", Selection{Resources: []string{"*"}, Conditions: Conditions{Equals: append(tag("backup", "true"), tag("stage", "prod")...)}}, all, "fs-1", ""},
		{"either tag", Selection{Tags: []KeyValue{{"backup", "true"}, {"tier", "gold"}}}, all, "fs-1 fs-2 vol-1", ""},
		{"has the tag", Selection{Resources: []string{"*"}, Conditions: Conditions{Like: tag("backup", "*")}}, all, "fs-1 vol-1", ""},
		{"not equal holds without the tag", Selection{Resources: []string{"*"}, Conditions: Conditions{NotEquals: tag("stage", "test")}}, all, "fs-1 vol-1 app-uploads fsx-1", ""},
		{"not like", Selection{Resources: []string{"*"}, Conditions: Conditions{NotLike: tag("stage", "pr*")}}, all, "fs-2 vol-1 app-uploads fsx-1", ""},
		{"union of resources and tags", Selection{Resources: []string{"arn:aws:fsx:*", "arn:aws:s3:::app-uploads"}, Tags: []KeyValue{{"backup", "true"}}, Conditions: Conditions{NotEquals: tag("stage", "test")}}, all, "fs-1 vol-1 app-uploads fsx-1", ""},
		{"tags obey opt-in", Selection{Tags: []KeyValue{{"backup", "true"}}}, noFiles, "vol-1", ""},
		{"service patterns obey opt-in", Selection{Resources: []string{"arn:aws:elasticfilesystem:*"}}, noFiles, "", ""},
		{"type patterns do not", Selection{Resources: []string{"arn:aws:elasticfilesystem:*:*:file-system/*"}}, noFiles, "fs-1 fs-2", ""},
		{"shared forms obey opt-in", Selection{Resources: []string{"arn:aws:fsx:*:*:file-system/*"}}, noFiles, "", ""},
		{"a full ARN does not", Selection{Resources: []string{selectable[4].ARN}}, noFiles, "fsx-1", ""},
		{"undeclared", Selection{Resources: []string{testFS, testFS, selectable[0].ARN}}, all, "fs-1", testFS},
		{"undeclared but excluded", Selection{Resources: []string{testFS}, NotResources: []string{"*"}}, all, "", ""},
		{"restore tests are left out", Selection{Resources: []string{selectable[5].ARN}}, all, "", ""},
	} {
		got, undeclared := c.sel.Match(selectable, c.optIn)
		var names []string
		for _, r := range got {
			a, _ := arn.Parse(r.ARN)
			_, last := cutLast(a.Resource)
			names = append(names, last)
		}
		if s := strings.Join(names, " "); s != c.want || strings.Join(undeclared, " ") != c.undeclared {
			t.Errorf("%s: %q and %v, want %q and %q", c.name, s, undeclared, c.want, c.undeclared)
		}
	}
}

// The matcher is compared with one that tries every way of splitting.
func TestStarAgreesWithTryingEverything(t *testing.T) {
	t.Parallel()
	var naive func(p, s string) bool
	naive = func(p, s string) bool {
		if p == "" {
			return s == ""
		}
		if p[0] == '*' {
			return naive(p[1:], s) || s != "" && naive(p, s[1:])
		}
		return s != "" && p[0] == s[0] && naive(p[1:], s[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab:*]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab:]{0,8}`).Draw(t, "text")
		if got := star(p, s); got != naive(p, s) {
			t.Fatalf("star(%q, %q) = %v", p, s, got)
		}
	})
}

// Whatever a selection says: nothing in NotResources is selected, and adding conditions never adds resources.
func TestSelectionOnlyNarrows(t *testing.T) {
	t.Parallel()
	patterns := []string{"*", "arn:aws:ec2:*", "arn:aws:elasticfilesystem:*:*:file-system/*", selectable[0].ARN, selectable[3].ARN, "arn:aws:s3:::*"}
	rapid.Check(t, func(t *rapid.T) {
		sel := Selection{
			Resources:    rapid.SliceOfN(rapid.SampledFrom(patterns), 0, 3).Draw(t, "resources"),
			NotResources: rapid.SliceOfN(rapid.SampledFrom(patterns), 0, 2).Draw(t, "not"),
		}
		if rapid.Bool().Draw(t, "tags") {
			sel.Tags = []KeyValue{{"backup", "true"}}
		}
		optIn := map[string]bool{"EFS": rapid.Bool().Draw(t, "efs"), "EBS": true, "S3": rapid.Bool().Draw(t, "s3")}
		wide, _ := sel.Match(selectable, optIn)
		for _, r := range wide {
			if sel.excludes(r.ARN) {
				t.Fatalf("%s is excluded and selected", r.ARN)
			}
		}
		sel.Conditions.Equals = []KeyValue{{"aws:ResourceTag/stage", rapid.SampledFrom([]string{"prod", "test", ""}).Draw(t, "stage")}}
		narrow, _ := sel.Match(selectable, optIn)
		for _, r := range narrow {
			if !slices.ContainsFunc(wide, func(w Resource) bool { return w.ARN == r.ARN }) {
				t.Fatalf("a condition added %s", r.ARN)
			}
		}
	})
}
