package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// sign signs a request with the SDK's signer.
func sign(t testing.TB, r *http.Request, body []byte, service string) {
	t.Helper()
	sum := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	if err := v4.NewSigner().SignHTTP(context.Background(), key, r, hex.EncodeToString(sum[:]), service, "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
}

// incoming makes the request that a server would see.
func incoming(t testing.TB, method, target string, header map[string]string, body []byte, service string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, "http://test.example.com"+target, bytes.NewReader(body))
	r.RequestURI = target
	for k, v := range header {
		r.Header.Set(k, v)
	}
	sign(t, r, body, service)
	return r
}

// captured is an HTTP client that keeps the request and answers nothing.
type captured struct {
	method, target string
	body           []byte
}

var errCaptured = errors.New("captured")

func (c *captured) Do(r *http.Request) (*http.Response, error) {
	c.method, c.target = r.Method, r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		c.target += "?" + r.URL.RawQuery
	}
	if r.Body != nil {
		c.body, _ = io.ReadAll(r.Body)
	}
	return nil, errCaptured
}

// The SDK's modules carry a recorded request of every operation with every member set. Reading it and letting the SDK write what
// was read must give the same request again.
func TestRecordedRequestsComeOutTheSame(t *testing.T) {
	t.Parallel()
	for _, m := range models() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+m.name).Output()
			if err != nil {
				t.Fatal(err)
			}
			var got atomic.Value
			h := testHandler(t, testConfig(m.service(t, func(op string, in any) (any, error) {
				got.Store(&in)
				return nil, errCaptured
			})))
			for _, op := range m.operations() {
				snap, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "request_snapshot", op.Name+".request.snap"))
				if err != nil {
					t.Errorf("%s: %v", op.Name, err)
					continue
				}
				line, rest, _ := strings.Cut(string(snap), "\n\n")
				heads, body, ok := strings.Cut(rest, "\n\n")
				if !ok { // no headers
					heads, body = "", strings.TrimPrefix(rest, "\n")
				}
				method, target, _ := strings.Cut(line, " ")
				header := map[string]string{}
				for l := range strings.Lines(heads) {
					if k, v, ok := strings.Cut(strings.TrimSpace(l), ": "); ok {
						header[k] = v
					}
				}
				w := httptest.NewRecorder()
				got.Store(new(any))
				h.ServeHTTP(w, incoming(t, method, target, header, []byte(body), m.name))
				in := *got.Load().(*any)
				if in == nil {
					t.Errorf("%s: not read: %s", op.Name, w.Body)
					continue
				}
				c := &captured{}
				if _, err := call(sdkClient(m.name, "https://test.example.com", c), op.Name, in); !errors.Is(err, errCaptured) {
					t.Errorf("%s: %v", op.Name, err)
				}
				if c.method != method || c.target != target || !sameBody(c.body, []byte(body)) {
					t.Errorf("%s:\nrecorded %s %s\n%s\nwritten  %s %s\n%s", op.Name, method, target, body, c.method, c.target, c.body)
				}
			}
		})
	}
}

// sameBody compares bytes, and JSON as values: the SDK does not keep the recorded order of members everywhere.
func sameBody(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	read := func(b []byte) (v any, err error) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		return v, d.Decode(&v)
	}
	x, err1 := read(a)
	y, err2 := read(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}
