package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	regions = []string{"us-east-1", "my-dc-1"}
)

// arriving is the request as a server sees it. The SDK signs r.URL; a server has the target of the request line.
func arriving(r *http.Request) *http.Request {
	r.RequestURI = r.URL.RequestURI()
	if r.URL.RawPath != "" || r.URL.Opaque != "" {
		r.RequestURI = r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			r.RequestURI += "?" + r.URL.RawQuery
		}
	}
	return r
}

func signed(t testing.TB, method, target string, body string, header map[string]string, token string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, "http://node.example.com:7400"+target, strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: token}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "backup", "us-east-1", now); err != nil {
		t.Fatal(err)
	}
	return arriving(r)
}

func verify(r *http.Request, body string) error {
	c, err := Parse(r)
	if err != nil {
		return err
	}
	if err := c.Check(now, 5*time.Minute, regions); err != nil {
		return err
	}
	return new(Verifier).Verify(c, r, []byte(body), secret)
}

func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return -1
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"/", "/backup-vaults/", "/backup-vaults/a", "/a%20b/%2B+/%25/%C3%A9/*/(x)", "/recovery-points/arn%3Aaws%3Aec2%3A%3A%3Asnapshot%2Fsnap-1",
		"/x?b=2&a=1&a=0", "/x?createdAfter=2024-01-01T00%3A00%3A00Z&nextToken=a%2Bb%2F%3D", "/x?empty=", "/x?delete", "/x?raw=a*b:c/d",
	} {
		for _, body := range []string{"", `{"A":1}`} {
			t.Run(fmt.Sprintf("SDK/%s/%d", target, len(body)), func(t *testing.T) {
				t.Parallel()
				r := signed(t, "PUT", target, body, map[string]string{"Content-Type": "application/json", "X-Amz-Target": "Svc.Op", "X-Note": "  two   spaces "}, "the/token+=")
				if target == "/x?delete" || strings.HasPrefix(target, "/x?raw") {
					r.RequestURI = target // as sent: the signer rewrites it to delete=
				}
				if err := verify(r, body); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Requests signed by the SDK with random paths, queries, headers and bodies verify.
func TestVerifyAgreesWithTheSDK(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	const alphabet = "abzAZ09-_.~!$&'()*+,;=:@/ %é\"<>\\^`{|}#?[]"
	word := func() string {
		var b strings.Builder
		letters := []rune(alphabet)
		for range 1 + rnd.IntN(8) {
			b.WriteRune(letters[rnd.IntN(len(letters))])
		}
		return b.String()
	}
	for i := range 500 {
		target := "/p" + url.PathEscape(word()) + "/q" + url.PathEscape(word())
		q := url.Values{}
		for range rnd.IntN(4) {
			q.Add(word(), word())
		}
		if len(q) > 0 {
			target += "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
		}
		body := strings.Repeat(word(), rnd.IntN(3))
		r := signed(t, "POST", target, body, map[string]string{"X-Amz-Meta": headerWord(word()), "Content-Type": "x/y"}, "")
		if err := verify(r, body); err != nil {
			t.Fatalf("request %d %s: %v", i, target, err)
		}
	}
}

// headerWord makes a word fit for a header.
func headerWord(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r > 126 {
			return 'x'
		}
		return r
	}, s))
}

func TestVerifyPresigned(t *testing.T) {
	t.Parallel()
	presign := func(expires string) *http.Request {
		r := httptest.NewRequest("GET", "http://node.example.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires="+expires, nil)
		sum := sha256.Sum256(nil)
		creds := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: "a+b/c="}
		u, _, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "sts", "my-dc-1", now)
		if err != nil {
			t.Fatal(err)
		}
		out := httptest.NewRequest("GET", u, nil)
		out.Host = "node.example.com"
		out.RequestURI = out.URL.RequestURI()
		return out
	}
	r := presign("60")
	c, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if c.SessionToken != "a+b/c=" || c.Service != "sts" || c.Region != "my-dc-1" || !c.Presigned() || c.Expires != time.Minute {
		t.Errorf("claim %+v", c)
	}
	for _, row := range []struct {
		name string
		at   time.Time
		want Code
	}{
		{"Now", now, -1}, {"AtTheEnd", now.Add(time.Minute), -1}, {"ClockBehind", now.Add(-4 * time.Minute), -1},
		{"ErrExpired", now.Add(61 * time.Second), Time}, {"ErrFuture", now.Add(-6 * time.Minute), Time},
	} {
		if got := code(c.Check(row.at, 5*time.Minute, regions)); got != row.want {
			t.Errorf("%s: code %d, want %d", row.name, got, row.want)
		}
	}
	if err := new(Verifier).Verify(c, r, nil, secret); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"0", "-1", "604801", "x", ""} {
		if _, err := Parse(presign(bad)); code(err) != Incomplete {
			t.Errorf("Expires %q: %v", bad, err)
		}
	}
	for name, change := range map[string]func(string) string{
		"Action":    func(u string) string { return strings.Replace(u, "GetCallerIdentity", "GetSessionToken", 1) },
		"Added":     func(u string) string { return u + "&DurationSeconds=1" },
		"Expires":   func(u string) string { return strings.Replace(u, "Expires=60", "Expires=600", 1) },
		"Signature": func(u string) string { return strings.Replace(u, "X-Amz-Signature=", "X-Amz-Signature=0", 1) },
		"Token": func(u string) string {
			return strings.Replace(u, "X-Amz-Security-Token=a", "X-Amz-Security-Token=b", 1)
		},
		"Twice":        func(u string) string { return u + "&X-Amz-Expires=60" },
		"TwiceEncoded": func(u string) string { return u + "&X%2DAmz-Signature=" + strings.Repeat("0", 64) },
	} {
		r := presign("60")
		before := r.RequestURI
		if r.RequestURI = change(before); r.RequestURI == before {
			t.Fatalf("%s changed nothing in %s", name, before)
		}
		if err := verify(r, ""); code(err) < 0 {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whatever of a signed request is changed, it is refused.
func TestEveryChangeIsRefused(t *testing.T) {
	t.Parallel()
	const body = `{"KeyId":"x"}`
	original := func() *http.Request {
		return signed(t, "POST", "/a/b?x=1&y=2", body, map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Encrypt"}, "token")
	}
	if err := verify(original(), body); err != nil {
		t.Fatal(err)
	}
	auth := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			a := r.Header.Get("Authorization")
			b := strings.Replace(a, old, new, 1)
			if a == b {
				t.Fatalf("nothing to change: %q in %s", old, a)
			}
			r.Header.Set("Authorization", b)
		}
	}
	changes := map[string]func(*http.Request){
		"Method":             func(r *http.Request) { r.Method = "PUT" },
		"Host":               func(r *http.Request) { r.Host = "other.example.com" },
		"Path":               func(r *http.Request) { r.RequestURI = "/a/c?x=1&y=2" },
		"PathEncoding":       func(r *http.Request) { r.RequestURI = "/a/%62?x=1&y=2" },
		"Query":              func(r *http.Request) { r.RequestURI = "/a/b?x=1&y=3" },
		"QueryAdded":         func(r *http.Request) { r.RequestURI += "&z=" },
		"QueryRemoved":       func(r *http.Request) { r.RequestURI = "/a/b?x=1" },
		"ContentType":        func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"Target":             func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") },
		"TargetTwice":        func(r *http.Request) { r.Header.Add("X-Amz-Target", "TrentService.Decrypt") },
		"TargetRemoved":      func(r *http.Request) { r.Header.Del("X-Amz-Target") },
		"Date":               func(r *http.Request) { r.Header.Set("X-Amz-Date", now.Add(time.Second).Format(timeLayout)) },
		"DateTwice":          func(r *http.Request) { r.Header.Add("X-Amz-Date", now.Format(timeLayout)) },
		"Token":              func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "other") },
		"TokenRemoved":       func(r *http.Request) { r.Header.Del("X-Amz-Security-Token") },
		"UnsignedHeader":     func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "x") },
		"ContentLength":      func(r *http.Request) { r.ContentLength++ },
		"AccessKey":          auth("Credential="+keyID, "Credential="+keyID+"2/x"),
		"Region":             auth("/us-east-1/", "/my-dc-1/"),
		"UnknownRegion":      auth("/us-east-1/", "/mars/"),
		"Service":            auth("/backup/", "/kms/"),
		"ScopeDate":          auth("/20260301/", "/20260302/"),
		"Terminator":         auth("aws4_request", "aws3_request"),
		"SignedHeadersLess":  auth(";x-amz-target", ""),
		"SignedHeadersHost":  auth(";host", ""),
		"SignedHeadersMore":  auth("SignedHeaders=", "SignedHeaders=accept;"),
		"SignedHeaderTwice":  auth("SignedHeaders=content-length;", "SignedHeaders=content-length;content-length;"),
		"Signature":          auth("Signature=", "Signature=00"),
		"Algorithm":          auth("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"),
		"Both":               func(r *http.Request) { r.RequestURI += "&X-Amz-Signature=00" },
		"AuthorizationTwice": func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"DeclaredHash":       func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) },
	}
	for name, change := range changes {
		r := original()
		change(r)
		if err := verify(r, body); code(err) < 0 {
			t.Errorf("%s: accepted (%v)", name, err)
		}
	}
	for i := range body {
		changed := []byte(body)
		changed[i] ^= 1
		if err := verify(original(), string(changed)); code(err) != Mismatch {
			t.Errorf("body byte %d: %v", i, err)
		}
	}
	sig := original().Header.Get("Authorization")
	for i := strings.Index(sig, "Signature=") + len("Signature="); i < len(sig); i++ {
		b := []byte(sig)
		b[i] = "10"[b2i(b[i] == '1')]
		r := original()
		r.Header.Set("Authorization", string(b))
		if string(b) != sig && code(verify(r, body)) != Mismatch {
			t.Errorf("signature digit %d changed and accepted", i)
		}
	}
	c, err := Parse(original())
	if err != nil {
		t.Fatal(err)
	}
	if err := new(Verifier).Verify(c, original(), []byte(body), secret+"x"); code(err) != Mismatch {
		t.Errorf("wrong secret: %v", err)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A vector computed by hand from the published algorithm (an awscli request with a %-encoded ARN, which is encoded twice), so that
// signer and verifier cannot be wrong in the same way.
func TestCanonicalRequest(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "http://h/recovery-points/arn%3Aaws?b=%20&a&b=1", nil)
	r.Header.Set("X-Amz-Date", "20260301T120000Z")
	r.Header.Add("My-Header", "  a   b ")
	r.Header.Add("My-Header", "c")
	r.RequestURI = "/recovery-points//./x/../arn%3Aaws?b=%20&a&b=1"
	r.Host = "h"
	c := &Claim{signed: []string{"host", "my-header", "x-amz-date"}, query: "b=%20&a&b=1"}
	got, err := c.canonical(r, "HASH")
	if err != nil {
		t.Fatal(err)
	}
	want := "GET\n/recovery-points/arn%253Aaws\na=&b=%20&b=1\nhost:h\nmy-header:a b,c\nx-amz-date:20260301T120000Z\n\nhost;my-header;x-amz-date\nHASH"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The derivation example of the AWS documentation.
func TestSigningKey(t *testing.T) {
	t.Parallel()
	k := new(Verifier).key(scope{"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam"})
	if got := hex.EncodeToString(k); got != "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d" {
		t.Errorf("key %s", got)
	}
}

func TestKeyCacheIsBounded(t *testing.T) {
	t.Parallel()
	v := new(Verifier)
	for i := range 3 * maxKeys {
		v.key(scope{secret, fmt.Sprint(i), "r", "s"})
		if len(v.keys) > maxKeys {
			t.Fatal("the cache grows without bound")
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := "AWS4-HMAC-SHA256 Credential=AKID/20260301/us-east-1/backup/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("a", 64)
	for _, row := range []struct {
		name, auth string
		want       Code
		text       string
	}{
		{"OK", good, -1, ""},
		{"OKWithoutSpaces", strings.ReplaceAll(good, ", ", ","), -1, ""},
		{"ErrNone", "", Missing, "Missing Authentication Token"},
		{"ErrV2", "AWS AKID:c2ln", Incomplete, "Signature Version 2"},
		{"ErrV4a", "AWS4-ECDSA-P256-SHA256 Credential=x", Incomplete, "4A"},
		{"ErrBearer", "Bearer abc", Incomplete, "Unsupported AWS 'algorithm'"},
		{"ErrNoCredential", "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=aa", Incomplete, "requires 'Credential' parameter"},
		{"ErrNothing", "AWS4-HMAC-SHA256", Incomplete, "missing equal-sign"},
		{"ErrTwice", good + ", Signature=bb", Incomplete, "twice"},
		{"ErrUnknownPart", good + ", More=bb", Incomplete, "unknown"},
		{"ErrShortScope", strings.Replace(good, "/backup", "", 1), Incomplete, "exactly 5 slash-delimited elements"},
		{"ErrEmptyScope", strings.Replace(good, "/backup/", "//", 1), Incomplete, "empty"},
		{"ErrTerminator", strings.Replace(good, "aws4_request", "aws4", 1), Scope, "terminator"},
		{"ErrHostUnsigned", strings.Replace(good, "host;", "", 1), Incomplete, "Host"},
		{"ErrUpperHeader", strings.Replace(good, "host;", "Host;host;", 1), Incomplete, "lower case"},
		{"ErrShortSignature", good[:len(good)-1], Mismatch, "does not match"},
		{"ErrHuge", "AWS4-HMAC-SHA256 " + strings.Repeat("a=b,", 4000), Incomplete, "too long"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-Amz-Date", "20260301T120000Z")
			if row.auth != "" {
				r.Header.Set("Authorization", row.auth)
			}
			_, err := Parse(r)
			if code(err) != row.want || err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("got %v", err)
			}
		})
	}
	r := httptest.NewRequest("GET", "/?AWSAccessKeyId=x&Signature=y&Expires=1", nil)
	if _, err := Parse(r); code(err) != Incomplete || !strings.Contains(err.Error(), "s3v4") {
		t.Errorf("presigned version 2: %v", err)
	}
}

func TestUnsignedPayloadsAreRefused(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""} {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(nil))
		r.Header["X-Amz-Content-Sha256"] = []string{v}
		if _, err := payloadHash(r, nil); code(err) != Mismatch {
			t.Errorf("%q: %v", v, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	r := signed(t, "GET", "/", "", nil, "")
	c, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		now  time.Time
		want string
	}{
		{"OKOld", now.Add(5 * time.Minute), ""},
		{"OKEarly", now.Add(-5 * time.Minute), ""},
		{"ErrOld", now.Add(5*time.Minute + time.Second), "Signature expired: 20260301T120000Z is now earlier than 20260301T120001Z (20260301T120501Z - 5 min.)"},
		{"ErrEarly", now.Add(-5*time.Minute - time.Second), "Signature not yet current: 20260301T120000Z is still later than 20260301T115959Z (20260301T115459Z + 5 min.)"},
	} {
		got := ""
		if err := c.Check(row.now, 5*time.Minute, regions); err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	good := "AWS4-HMAC-SHA256 Credential=AKID/20260301/us-east-1/backup/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("a", 64)
	f.Add(good, "/a?b=c", "20260301T120000Z")
	f.Add("AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature==", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=x", "x")
	f.Add("", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20260301%2Fr%2Fs%2Faws4_request&X-Amz-Date=20260301T120000Z&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature="+strings.Repeat("0", 64), "")
	f.Fuzz(func(t *testing.T, auth, target, date string) {
		r := &http.Request{Method: "GET", Host: "h", RequestURI: target, Header: http.Header{}}
		if auth != "" {
			r.Header["Authorization"] = []string{auth}
		}
		if date != "" {
			r.Header["X-Amz-Date"] = []string{date}
		}
		c, err := Parse(r)
		if err != nil {
			if code(err) < 0 {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		if c.AccessKeyID == "" || c.Region == "" || c.Service == "" || len(c.signature) != 64 || c.Time.IsZero() {
			t.Fatalf("incomplete claim %+v", c)
		}
		if err := new(Verifier).Verify(c, r, nil, secret); err == nil {
			t.Fatal("a made-up signature was accepted")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	body := `{"BackupVaultName":"a","ResourceArn":"arn:aws:ec2:us-east-1::snapshot/snap-1"}`
	r := signed(b, "PUT", "/backup-jobs", body, map[string]string{"Content-Type": "application/json"}, "")
	v := new(Verifier)
	b.ReportAllocs()
	for b.Loop() {
		c, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Verify(c, r, []byte(body), secret); err != nil {
			b.Fatal(err)
		}
	}
}
