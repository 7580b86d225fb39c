package backup

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"strongroom/internal/fault"
)

func TestTags(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.vault("main")
		r := f.point("main", nil)
		for _, name := range []string{v.ARN(), r.ARN} {
			must(t, f.AddTags(ctx, testAccount, testRegion, name, map[string]string{"a": "1", "b": "2"}))
			must(t, f.AddTags(ctx, testAccount, testRegion, name, map[string]string{"a": "3", "from": ""}))
			must(t, f.RemoveTags(ctx, testAccount, testRegion, name, []string{"b", "never"}))
			got, _, err := f.Tags(ctx, testAccount, testRegion, name, Page{})
			must(t, err)
			if !maps.Equal(got, map[string]string{"a": "3", "from": ""}) {
				t.Fatalf("%s: %v", name, got)
			}
		}
		for _, name := range []string{
			VaultARN(testAccount, testRegion, "none"), VaultARN(testOther, testRegion, "main"), VaultARN(testAccount, "eu-west-1", "main"),
			PointARN(testAccount, testRegion, "none"), "arn:aws:backup:us-east-1:111111111111:backup-plan:none", "arn:aws:s3:::bucket",
			"arn:aws-cn:backup:us-east-1:111111111111:backup-vault:main",
		} {
			want(t, f.AddTags(ctx, testAccount, testRegion, name, map[string]string{"a": "1"}), fault.NotFound, "")
			_, _, err := f.Tags(ctx, testAccount, testRegion, name, Page{})
			want(t, err, fault.NotFound, "")
		}
		want(t, f.AddTags(ctx, testOther, testRegion, r.ARN, map[string]string{"a": "1"}), fault.NotFound, "")
		want(t, f.AddTags(ctx, testAccount, testRegion, "nonsense", nil), fault.Invalid, "")
		for _, bad := range []map[string]string{
			{"": "x"}, {strings.Repeat("k", 129): "x"}, {"k": strings.Repeat("v", 257)}, {"aws:k": "x"}, {"AWS:k": "x"}, {"k": "\xff"},
		} {
			want(t, f.AddTags(ctx, testAccount, testRegion, v.ARN(), bad), fault.Invalid, "")
		}
	})
}

func TestTagLimitCountsTheResult(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.vault("main")
		some := func(from, to int) map[string]string {
			m := map[string]string{}
			for i := from; i < to; i++ {
				m[fmt.Sprintf("k%02d", i)] = "v"
			}
			return m
		}
		want(t, f.AddTags(ctx, testAccount, testRegion, v.ARN(), some(0, 51)), fault.Limit, "")
		must(t, f.AddTags(ctx, testAccount, testRegion, v.ARN(), some(0, 50)))
		must(t, f.AddTags(ctx, testAccount, testRegion, v.ARN(), some(40, 50))) // replaces
		want(t, f.AddTags(ctx, testAccount, testRegion, v.ARN(), some(50, 51)), fault.Limit, "")
		seen := map[string]string{}
		for p := (Page{Limit: 7}); ; {
			tags, next, err := f.Tags(ctx, testAccount, testRegion, v.ARN(), p)
			must(t, err)
			if len(tags) > 7 {
				t.Fatalf("%d tags on a page of 7", len(tags))
			}
			maps.Copy(seen, tags)
			if p.Token = next; next == "" {
				break
			}
		}
		if !maps.Equal(seen, some(0, 50)) {
			t.Fatalf("pages gave %d tags", len(seen))
		}
	})
}
