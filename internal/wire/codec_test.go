package wire

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"pgregory.net/rapid"
)

func planFor[T any](t testing.TB) *plan {
	t.Helper()
	p, err := (&planner{plans: map[reflect.Type]*plan{}}).plan(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	b, err := appendJSON(nil, planFor[awsbackup.DescribeBackupVaultOutput](t), reflect.ValueOf(awsbackup.DescribeBackupVaultOutput{BackupVaultName: aws.String(""), CreationDate: &day}))
	if err != nil {
		t.Fatal(err)
	}
	// Nil pointers and the empty enum VaultType are absent, the plain number is there, the empty string is a value.
	if want := `{"BackupVaultName":"","CreationDate":1767323045.006,"NumberOfRecoveryPoints":0}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}

func TestXMLReply(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	out := awsiam.ListUsersOutput{Users: []iamtypes.User{{UserName: aws.String("a<b>\x01"), CreateDate: aws.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}}}
	if err := writeQueryReply(&b, "ListUsers", "https://iam.amazonaws.com/doc/2010-05-08/", "id", planFor[awsiam.ListUsersOutput](t), reflect.ValueOf(out)); err != nil {
		t.Fatal(err)
	}
	want := `<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult><Users><member><CreateDate>2026-01-02T03:04:05Z</CreateDate><UserName>a&lt;b&gt;` + "\uFFFD" +
		`</UserName></member></Users><IsTruncated>false</IsTruncated></ListUsersResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></ListUsersResponse>`
	if got := b.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text string
		ms   int64
	}{{"0", 0}, {"1516925490.087", 1516925490087}, {"1.516925490087E9", 1516925490087}, {"-1.5", -1500}, {"1704067200", 1704067200000}} {
		at, err := epoch(row.text)
		if err != nil || at.UnixMilli() != row.ms {
			t.Errorf("%s: %v %v", row.text, at, err)
		}
	}
	for _, bad := range []string{"", "x", "1e99", "NaN", "-Inf", "253402300800"} {
		if at, err := epoch(bad); err == nil {
			t.Errorf("%q read as %v", bad, at)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(-62135596800000, 253402300799000).Draw(t, "ms")
		b := appendEpoch(nil, time.UnixMilli(ms))
		if at, err := epoch(string(b)); err != nil || at.UnixMilli() != ms {
			t.Fatalf("%d written %s read %v %v", ms, b, at, err)
		}
	})
}

// Strings are written as encoding/json reads them, whatever bytes they hold.
func TestJSONStrings(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		b := appendString(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil || got != strings.ToValidUTF8(s, "\uFFFD") && utf8.ValidString(s) {
			t.Fatalf("%q written %s read %q %v", s, b, got, err)
		}
		own, err := (&jsonReader{b: b}).string()
		if err != nil || own != got {
			t.Fatalf("%s read %q %v", b, own, err)
		}
	})
}

// What the reader accepts, encoding/json accepts too: it is only ever stricter. What it read can be written and read again.
func FuzzReadJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"BackupPlan":{"BackupPlanName":"a","Rules":[{"RuleName":"b","StartWindowMinutes":1,"CopyActions":[]}]},"BackupPlanTags":{"k":"v"}}`,
		`{"x":[1,-2.5e+3,true,null,"\ud83d\ude00"]}`, `{"BackupPlan":null}`, `{"a":1,"a":2}`, `{"BackupPlan":`, "{\"\xff\":1}"} {
		f.Add([]byte(seed))
	}
	p := planFor[awsbackup.CreateBackupPlanInput](f)
	f.Fuzz(func(t *testing.T, b []byte) {
		v := reflect.New(p.typ).Elem()
		if err := readJSON(b, p, v); err != nil {
			return
		}
		if len(bytes.TrimSpace(b)) > 0 && !json.Valid(b) {
			t.Fatalf("accepted %q", b)
		}
		w, err := appendJSON(nil, p, v)
		if err != nil {
			t.Fatal(err)
		}
		again := reflect.New(p.typ).Elem()
		if err := readJSON(w, p, again); err != nil || !reflect.DeepEqual(v.Interface(), again.Interface()) {
			t.Fatalf("%q written %q: %v", b, w, err)
		}
	})
}

// Forms never panic, and what was read can be written as XML that parses.
func FuzzReadForm(f *testing.F) {
	for _, seed := range []string{"", "UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v", "Tags=&Tags.member.1=x", "Tags.member.2.Key=a&Tags.member.1.Key=b", "a=%zz", "=&=&.=.", "Tags.member.+1.Key=a", "PolicyInputList.member.1=%7B%7D&ContextEntries.member.1.ContextKeyValues.member.1=a"} {
		f.Add(seed)
	}
	p := planFor[awsiam.SimulateCustomPolicyInput](f)
	user := planFor[awsiam.CreateUserInput](f)
	f.Fuzz(func(t *testing.T, s string) {
		pairs, err := parseForm(s)
		if err != nil {
			return
		}
		tree, err := paramTree(pairs)
		if err != nil {
			return
		}
		for _, p := range []*plan{p, user} {
			v := reflect.New(p.typ).Elem()
			if err := readForm(tree, p, v); err != nil {
				continue
			}
			var b bytes.Buffer
			if err := writeXML(&b, "X", p, v); err != nil {
				t.Fatal(err)
			}
			for d := xml.NewDecoder(&b); ; {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%q: %v", s, err)
				}
			}
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "/backup-vaults/a%2Fb/recovery-points/x/", "")
	f.Add("POST", "/backup-vaults/v/mpaApprovalTeam", "delete")
	f.Add("GET", "//", "")
	rs := routes{}
	for _, row := range modelSchemas()["backup"] {
		r, err := newRoute(row.op)
		if err != nil {
			f.Fatal(err)
		}
		rs[r.method] = append(rs[r.method], r)
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		r, labels := rs.match(method, path, query)
		n := 0
		if r != nil {
			for _, s := range r.segments {
				if s.label {
					n++
				}
			}
		}
		if n != len(labels) {
			t.Fatalf("%d labels for %d", len(labels), n)
		}
	})
}

// Two routes never fit the same request equally well, so that matching does not depend on the order of tables.
func TestRoutesAreUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, row := range modelSchemas()["backup"] {
		r, err := newRoute(row.op)
		if err != nil {
			t.Fatal(err)
		}
		key := r.method + "?" + r.marker
		for _, s := range r.segments {
			if s.label {
				key += "/{}"
			} else {
				key += "/" + s.text
			}
		}
		if other, dup := seen[key]; dup {
			t.Errorf("%s and %s are both bound to %s", name, other, key)
		}
		seen[key] = name
	}
}
