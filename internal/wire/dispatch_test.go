package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	awsbackup "github.com/aws/aws-sdk-go-v2/service/backup"
	backupschemas "github.com/aws/aws-sdk-go-v2/service/backup/schemas"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmsschemas "github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	awsorg "github.com/aws/aws-sdk-go-v2/service/organizations"
	orgschemas "github.com/aws/aws-sdk-go-v2/service/organizations/schemas"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"strongroom/internal/access"
	"strongroom/internal/fault"
)

// A few operations by hand, built as adapters build them.
func vaultService(handle func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error), checks Checks[awsbackup.CreateBackupVaultInput]) Service {
	return Service{
		Name: "backup", Protocol: RestJSON, Exception: testException,
		Operations: []Operation{Op("CreateBackupVault", backupschemas.CreateBackupVault, backupschemas.CreateBackupVaultInput, backupschemas.CreateBackupVaultOutput, checks, handle)},
		Known:      []*smithy.Schema{backupschemas.CreateBackupVault, backupschemas.StartBackupJob, backupschemas.ListBackupJobs},
		Constraints: Constraints{
			Inputs: map[string]string{"CreateBackupVault": "CreateBackupVaultInput"},
			Structures: map[string]map[string]Member{"CreateBackupVaultInput": {
				"BackupVaultName": {Required: true, Type: "BackupVaultName"}, "BackupVaultTags": {Type: "Tags"},
			}},
			Limits: map[string]Limit{"BackupVaultName": {Pattern: `^[a-zA-Z0-9\-\_]{2,50}$`}, "Tags": {Max: At(2), Sensitive: true}},
		},
	}
}

func createVault(context.Context, Caller, *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
	return &awsbackup.CreateBackupVaultOutput{}, nil
}

func vaultChecks(_ context.Context, _ Caller, in *awsbackup.CreateBackupVaultInput) ([]access.Check, error) {
	return []access.Check{{Action: "backup:CreateBackupVault", Resource: *in.BackupVaultName}}, nil
}

func keyService() Service {
	return Service{
		Name: "kms", Protocol: JSON11, Target: "TrentService", Exception: testException,
		Operations: []Operation{Op("DescribeKey", kmsschemas.DescribeKey, kmsschemas.DescribeKeyRequest, kmsschemas.DescribeKeyResponse, AnyCaller[awskms.DescribeKeyInput],
			func(context.Context, Caller, *awskms.DescribeKeyInput) (*awskms.DescribeKeyOutput, error) {
				return &awskms.DescribeKeyOutput{}, nil
			})},
		Known:       []*smithy.Schema{kmsschemas.DescribeKey, kmsschemas.CreateKey},
		Constraints: Constraints{Inputs: map[string]string{"DescribeKey": "I"}, Structures: map[string]map[string]Member{"I": {"KeyId": {Required: true}}}},
	}
}

func orgService() Service {
	return Service{
		Name: "organizations", Protocol: JSON11, Target: "AWSOrganizationsV20161128", Exception: testException,
		Operations: []Operation{Op("DescribeOrganization", orgschemas.DescribeOrganization, nil, orgschemas.DescribeOrganizationResponse, AnyCaller[awsorg.DescribeOrganizationInput],
			func(context.Context, Caller, *awsorg.DescribeOrganizationInput) (*awsorg.DescribeOrganizationOutput, error) {
				return &awsorg.DescribeOrganizationOutput{}, nil
			})},
	}
}

func tokenService() Service {
	return Service{
		Name: "sts", Protocol: Query, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Exception: testException,
		Operations: []Operation{
			Op("GetCallerIdentity", nil, nil, nil, AnyCaller[awssts.GetCallerIdentityInput],
				func(_ context.Context, c Caller, _ *awssts.GetCallerIdentityInput) (*awssts.GetCallerIdentityOutput, error) {
					return &awssts.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.ARN}, nil
				}),
			Op("AssumeRoleWithWebIdentity", nil, nil, nil, AnyCaller[awssts.AssumeRoleWithWebIdentityInput],
				func(_ context.Context, c Caller, _ *awssts.AssumeRoleWithWebIdentityInput) (*awssts.AssumeRoleWithWebIdentityOutput, error) {
					if c.Kind != access.Anonymous {
						return nil, errors.New("who is this?")
					}
					return &awssts.AssumeRoleWithWebIdentityOutput{}, nil
				}),
		},
		KnownNames: []string{"GetCallerIdentity", "GetSessionToken"}, Unsigned: []string{"AssumeRoleWithWebIdentity"},
	}
}

// send signs a request for a service and serves it.
func send(t testing.TB, h http.Handler, service, method, target, kind, action, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	header := map[string]string{}
	if kind != "" {
		header["Content-Type"] = kind
	}
	if action != "" {
		header["X-Amz-Target"] = action
	}
	r := incoming(t, method, target, header, []byte(body), service)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("x-amzn-RequestId") == "" {
		t.Error("the reply has no request id")
	}
	return w
}

const formType = "application/x-www-form-urlencoded"

func TestErrorsSpeakEachProtocol(t *testing.T) {
	t.Parallel()
	c := testConfig(vaultService(createVault, vaultChecks), keyService(), orgService(), tokenService())
	auth := c.Authenticate
	c.Authenticate = func(ctx context.Context, key, token string) (Identity, error) {
		id, err := auth(ctx, key, "")
		if token == "old" {
			id.Expires = time.Now().Add(-time.Second)
		}
		if token == "wrong" {
			return Identity{}, ErrUnknownKey
		}
		return id, err
	}
	h := testHandler(t, c)
	rest := func(change ...func(*http.Request)) *httptest.ResponseRecorder {
		return send(t, h, "backup", "PUT", "/backup-vaults/v1", "application/json", "", "{}", change...)
	}
	kms := func(change ...func(*http.Request)) *httptest.ResponseRecorder {
		return send(t, h, "kms", "POST", "/", "application/x-amz-json-1.1", "TrentService.DescribeKey", `{"KeyId":"k"}`, change...)
	}
	sts := func(change ...func(*http.Request)) *httptest.ResponseRecorder {
		return send(t, h, "sts", "POST", "/", formType, "", "Action=GetCallerIdentity&Version=2011-06-15", change...)
	}
	for name, f := range map[string]func(...func(*http.Request)) *httptest.ResponseRecorder{"rest": rest, "json": kms, "query": sts} {
		if w := f(); w.Code != 200 {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	unauthenticated := func(r *http.Request) { r.Header.Del("Authorization") }
	tampered := func(r *http.Request) {
		r.Header.Set("X-Amz-Date", time.Now().Add(-time.Second).UTC().Format("20060102T150405Z"))
	}
	malformed := func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a") }
	replace := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
		}
	}
	for _, row := range []struct {
		name            string
		change          func(*http.Request)
		json, query     string
		text            string
		jsonCode, qCode int
		restCode        int
	}{
		{"NoAuth", unauthenticated, "MissingAuthenticationTokenException", "MissingAuthenticationToken", "Authentication Token", 400, 403, 403},
		{"UnknownKey", replace(testKey, "AKIAUNKNOWN"), "UnrecognizedClientException", "InvalidClientTokenId", "The security token included in the request is invalid.", 400, 403, 403},
		{"Tampered", tampered, "InvalidSignatureException", "SignatureDoesNotMatch", "The request signature we calculated does not match", 400, 403, 403},
		{"Malformed", malformed, "IncompleteSignatureException", "IncompleteSignature", "requires 'Signature' parameter", 400, 400, 403},
		{"Region", replace("/us-east-1/", "/mars-1/"), "InvalidSignatureException", "SignatureDoesNotMatch", "Credential should be scoped to a valid Region, not 'mars-1'", 400, 403, 403},
	} {
		for proto, f := range map[string]func(...func(*http.Request)) *httptest.ResponseRecorder{"rest": rest, "json": kms, "query": sts} {
			w := f(row.change)
			name, status := row.json, row.jsonCode
			switch proto {
			case "rest":
				status = row.restCode
			case "query":
				name, status = row.query, row.qCode
			}
			if w.Code != status || w.Header().Get("x-amzn-ErrorType") != name || !strings.Contains(html.UnescapeString(w.Body.String()), row.text) || proto != "rest" && !strings.Contains(w.Body.String(), name) {
				t.Errorf("%s/%s: %d %v %s", row.name, proto, w.Code, w.Header(), w.Body)
			}
		}
	}
	check := func(name string, w *httptest.ResponseRecorder, status int, code, text string) {
		t.Helper()
		if w.Code != status || w.Header().Get("x-amzn-ErrorType") != code || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%s: %d %s %s", name, w.Code, w.Header().Get("x-amzn-ErrorType"), w.Body)
		}
	}
	check("NotImplemented/rest", send(t, h, "backup", "PUT", "/backup-jobs", "", "", ""), 501, "UnsupportedOperationException", "Strongroom does not implement backup:StartBackupJob; see docs/compatibility.md")
	check("NotImplemented/rest/slash", send(t, h, "backup", "GET", "/backup-jobs/", "", "", ""), 501, "UnsupportedOperationException", "backup:ListBackupJobs;")
	check("NotImplemented/json", send(t, h, "kms", "POST", "/", "", "TrentService.CreateKey", "{}"), 501, "UnsupportedOperationException", `"__type":"UnsupportedOperationException"`)
	check("NotImplemented/query", send(t, h, "sts", "POST", "/", formType, "", "Action=GetSessionToken&Version=2011-06-15"), 501, "UnsupportedOperation", "sts:GetSessionToken")
	check("Unknown/rest", send(t, h, "backup", "GET", "/nothing", "", "", ""), 404, "UnknownOperationException", "")
	check("Unknown/rest/method", send(t, h, "backup", "PATCH", "/backup-vaults/v1", "", "", ""), 404, "UnknownOperationException", "")
	check("Unknown/json", send(t, h, "kms", "POST", "/", "", "TrentService.Nothing", "{}"), 400, "UnknownOperationException", "")
	check("Unknown/json/noTarget", send(t, h, "kms", "POST", "/", "", "", "{}"), 400, "UnknownOperationException", "")
	check("Unknown/query", send(t, h, "sts", "POST", "/", formType, "", "Action=Nothing&Version=2011-06-15"), 400, "InvalidAction", "Could not find operation Nothing for version 2011-06-15")
	check("Unknown/query/version", send(t, h, "sts", "POST", "/", formType, "", "Action=GetCallerIdentity&Version=2010-05-08"), 400, "InvalidAction", "for version 2010-05-08")
	check("OtherService", send(t, h, "organizations", "POST", "/", "", "TrentService.DescribeKey", "{}"), 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'kms'.")
	check("NoSuchService", send(t, h, "s3", "GET", "/", "", "", ""), 403, "InvalidSignatureException", "not 's3'")
	check("Unreadable/rest", send(t, h, "backup", "PUT", "/backup-vaults/v1", "", "", `{"BackupVaultTags":[]}`), 400, "SerializationException", "BackupVaultTags: a list where an object is expected")
	check("Unreadable/json", send(t, h, "kms", "POST", "/", "", "TrentService.DescribeKey", `{"KeyId":1}`), 400, "SerializationException", "KeyId: a number where a string is expected")
	check("Unreadable/query", send(t, h, "sts", "POST", "/", formType, "", "Action=GetCallerIdentity&Action=x&Version=2011-06-15"), 400, "ValidationError", "")
	check("Missing/rest", send(t, h, "backup", "PUT", "/backup-vaults/v%21", "", "", ""), 400, "InvalidParameterValueException", "Value 'v!' at 'backupVaultName' failed to satisfy constraint: Member must satisfy regular expression pattern")
	check("Missing/json", send(t, h, "kms", "POST", "/", "", "TrentService.DescribeKey", "{}"), 400, "ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null")
	check("Sensitive", send(t, h, "backup", "PUT", "/backup-vaults/v1", "", "", `{"BackupVaultTags":{"a":"secret-1","b":"2","c":"3"}}`), 400, "InvalidParameterValueException", "Value '***' at 'backupVaultTags'")
	check("Unsigned", send(t, h, "sts", "POST", "/", formType, "", "Action=AssumeRoleWithWebIdentity&Version=2011-06-15", unauthenticated), 200, "", "AssumeRoleWithWebIdentityResult")
	check("DotSegments", send(t, h, "backup", "PUT", "/x/../backup-vaults/v1", "", "", ""), 403, "InvalidSignatureException", "") // the SDK does not normalize; were it signed, no route would match
	var big = strings.Repeat(" ", 2<<20+1)
	check("TooLarge", send(t, h, "backup", "PUT", "/backup-vaults/v1", "", "", big), 413, "RequestEntityTooLargeException", "larger than")

	// Temporary credentials: expiry is told only to who holds the secret.
	token := func(v string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("X-Amz-Security-Token", v)
			sign(t, r, []byte("{}"), "backup")
		}
	}
	check("Expired", rest(token("old")), 403, "ExpiredTokenException", "The security token included in the request is expired")
	check("ExpiredAndTampered", rest(token("old"), func(r *http.Request) { r.RequestURI = "/backup-vaults/v2" }), 403, "InvalidSignatureException", "")
	check("WrongToken", rest(token("wrong")), 403, "UnrecognizedClientException", "")
}

func TestQueryErrorIsXML(t *testing.T) {
	t.Parallel()
	out := exceptionReply(Query, "https://ns/", "id-1", Exception{Name: "NoSuchEntity", Status: 404, Message: "a <b>", Members: map[string]any{"Extra": "x", "Nil": nil}})
	want := `<ErrorResponse xmlns="https://ns/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>a &lt;b&gt;</Message><Extra>x</Extra></Error><RequestId>id-1</RequestId></ErrorResponse>`
	if string(out.body) != want || out.kind != "text/xml" || out.status != 404 {
		t.Errorf("got %s", out.body)
	}
	out = exceptionReply(JSON11, "", "id-1", Exception{Name: "InvalidInputException", Message: `"x"`, Members: map[string]any{"Reason": "R", "N": 1}})
	if string(out.body) != `{"__type":"InvalidInputException","Message":"\"x\"","message":"\"x\"","N":1,"Reason":"R"}` || out.status != 400 {
		t.Errorf("got %s", out.body)
	}
}

func TestDispatcher(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, change func(*Config), s Service) *httptest.ResponseRecorder {
		c := testConfig(s)
		if change != nil {
			change(&c)
		}
		return send(t, testHandler(t, c), "backup", "PUT", "/backup-vaults/v1", "application/json", "", `{"BackupVaultTags":{"k":"hunter2"}}`)
	}
	never := func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
		t.Error("the handler ran")
		return &awsbackup.CreateBackupVaultOutput{}, nil
	}
	t.Run("EmptyRowIsRefused", func(t *testing.T) {
		t.Parallel()
		for _, row := range [][]access.Check{nil, {}} {
			w := run(t, nil, vaultService(never, func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) ([]access.Check, error) {
				return row, nil
			}))
			if w.Code != 500 {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		}
	})
	t.Run("StarIsNotAnyCaller", func(t *testing.T) {
		t.Parallel()
		w := run(t, func(c *Config) {
			c.Authorize = func(context.Context, Caller, []access.Check) error { return fault.New(fault.Denied, "no") }
		}, vaultService(never, func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) ([]access.Check, error) {
			return []access.Check{{Action: "*"}}, nil
		}))
		if w.Code != 403 || w.Header().Get("x-amzn-ErrorType") != "AccessDeniedException" {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
	t.Run("AuthorizeSeesCallerAndChecks", func(t *testing.T) {
		t.Parallel()
		var caller Caller
		var checks []access.Check
		w := run(t, func(c *Config) {
			c.Authorize = func(_ context.Context, who Caller, what []access.Check) error {
				caller, checks = who, what
				return nil
			}
		}, vaultService(createVault, vaultChecks))
		if w.Code != 200 || len(checks) != 1 || checks[0].Resource != "v1" {
			t.Errorf("got %d, checks %v", w.Code, checks)
		}
		e := caller.Env
		if caller.Account != "111111111111" || caller.AccessKeyID != testKey || e.Region != "us-east-1" || e.SourceIP != "192.0.2.1" || e.Secure || e.Now.IsZero() || e.RequestID != w.Header().Get("x-amzn-RequestId") {
			t.Errorf("caller %+v", caller)
		}
	})
	t.Run("Panic", func(t *testing.T) {
		t.Parallel()
		w := run(t, nil, vaultService(func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
			panic("secret-detail")
		}, vaultChecks))
		if w.Code != 500 || strings.Contains(w.Body.String(), "secret-detail") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
	t.Run("NilOutput", func(t *testing.T) {
		t.Parallel()
		w := run(t, nil, vaultService(func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
			return nil, nil
		}, vaultChecks))
		if w.Code != 500 {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
	t.Run("Timeout", func(t *testing.T) {
		t.Parallel()
		w := run(t, func(c *Config) { c.Timeout = time.Millisecond }, vaultService(func(ctx context.Context, _ Caller, _ *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, vaultChecks))
		if w.Header().Get("x-amzn-ErrorType") != "ServiceUnavailableException" {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
	t.Run("LogAndAudit", func(t *testing.T) {
		t.Parallel()
		var logged bytes.Buffer
		var event Event
		w := run(t, func(c *Config) {
			c.Log = slog.New(slog.NewJSONHandler(&logged, nil))
			c.Audit = func(_ context.Context, e Event) { event = e }
		}, vaultService(func(context.Context, Caller, *awsbackup.CreateBackupVaultInput) (*awsbackup.CreateBackupVaultOutput, error) {
			return nil, fault.New(fault.Invalid, "bad name")
		}, vaultChecks))
		var line map[string]any
		if err := json.Unmarshal(logged.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, &logged)
		}
		for k, want := range map[string]any{"service": "backup", "operation": "CreateBackupVault", "status": 400.0, "account": "111111111111", "principal": "arn:aws:iam::111111111111:root", "error": "InvalidParameterValueException", "request_id": w.Header().Get("x-amzn-RequestId")} {
			if line[k] != want {
				t.Errorf("log %s is %v, want %v", k, line[k], want)
			}
		}
		for _, secret := range []string{"hunter2", testSecret, "Signature"} {
			if strings.Contains(logged.String(), secret) {
				t.Errorf("%q is in the log: %s", secret, &logged)
			}
		}
		if event.Operation != "CreateBackupVault" || event.Code != "InvalidParameterValueException" || event.Status != 400 || event.Message != "bad name" || event.Input.(*awsbackup.CreateBackupVaultInput).BackupVaultTags["k"] != "hunter2" {
			t.Errorf("event %+v", event)
		}
	})
}

func TestNewHandlerRefuses(t *testing.T) {
	t.Parallel()
	good := vaultService(createVault, vaultChecks)
	for name, change := range map[string]func(*Config){
		"ErrNoRegions":      func(c *Config) { c.Regions = nil },
		"ErrNoClock":        func(c *Config) { c.Clock = nil },
		"ErrTwice":          func(c *Config) { c.Services = []Service{good, good} },
		"ErrNoException":    func(c *Config) { c.Services[0].Exception = nil },
		"ErrOperationTwice": func(c *Config) { c.Services[0].Operations = append(c.Services[0].Operations, good.Operations...) },
		"ErrNoSchema":       func(c *Config) { c.Services[0].Operations[0].Input = nil },
		"ErrPattern":        func(c *Config) { c.Services[0].Constraints.Limits["BackupVaultName"] = Limit{Pattern: "("} },
		"ErrUnsigned":       func(c *Config) { c.Services[0].Unsigned = []string{"CreateBackupVault"} },
	} {
		c := testConfig(vaultService(createVault, vaultChecks))
		change(&c)
		if _, err := NewHandler(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an operation without a row was made")
		}
	}()
	Op[awsbackup.CreateBackupVaultInput, awsbackup.CreateBackupVaultOutput]("X", nil, nil, nil, nil, createVault)
}
