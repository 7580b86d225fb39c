// Package sigv4 verifies AWS Signature Version 4 on incoming requests, in the Authorization header or presigned in the query string.
//
// It is the verifying side only and knows no identities: Parse reads what a request claims, Claim.Check judges scope and time,
// and Verifier.Verify compares the signature, given the secret of the claimed access key. Nothing of a request may be
// trusted before Verify has returned nil.
//
// It is written for services other than S3: the path is normalized and percent-encoded twice, payloads are always signed.
// Beyond the algorithm it insists on what makes a signature mean something: the host and every x-amz-* header must be
// signed, nothing may appear twice, and a declared payload hash must be that of the body.
//
// Start with Claim, then canonical.go. The algorithm is the one of the IAM user guide, "Create a signed AWS API request".
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeLayout = "20060102T150405Z"

	maxHeader        = 8 << 10
	maxSignedHeaders = 100
	maxExpires       = 7 * 24 * time.Hour
)

// Code says what is wrong with a signature.
type Code int

// The codes, each an error of its own in every protocol.
const (
	Missing    Code = iota // the request is not signed at all
	Incomplete             // the signature cannot be read
	Scope                  // signed for another region, service or day
	Time                   // too old or not yet valid
	Mismatch               // the signature is not that of this request
)

// Error is a refusal.
type Error struct {
	Code    Code
	Message string // AWS's text
}

func (e *Error) Error() string { return e.Message }

func refuse(c Code, format string, args ...any) error {
	return &Error{c, fmt.Sprintf(format, args...)}
}

// Claim is what a request says about its signature.
type Claim struct {
	AccessKeyID  string
	SessionToken string
	Region       string
	Service      string
	Time         time.Time
	Expires      time.Duration // presigned only, else 0

	date      string // of the scope
	stamp     string // the request's time as it was written
	signed    []string
	signature string
	presigned bool
	query     string // raw, without the signature
}

var (
	credentialPart = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	headerName     = regexp.MustCompile(`^[a-z0-9!#$%&'*+.^_|~` + "`" + `-]+$`)
	hexHash        = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Parse reads the signature of r without judging it. The errors are *Error with code Missing or Incomplete.
func Parse(r *http.Request) (*Claim, error) {
	_, query, _ := strings.Cut(r.RequestURI, "?")
	params, err := presignParams(query)
	if err != nil {
		return nil, err
	}
	auth := r.Header["Authorization"]
	switch {
	case len(auth) > 1:
		return nil, refuse(Incomplete, "The request has more than one Authorization header.")
	case len(auth) == 1 && (params["Algorithm"] != "" || params["Signature"] != ""):
		return nil, refuse(Incomplete, "Only one auth mechanism is allowed; the request has both an Authorization header and an X-Amz-Signature parameter.")
	case params["Algorithm"] != "" || params["Signature"] != "":
		return parsePresigned(r, query, params)
	case len(auth) == 1 && auth[0] != "":
		return parseHeader(r, query, auth[0])
	case hasParam(query, "AWSAccessKeyId"):
		return nil, errV2
	}
	return nil, refuse(Missing, "Missing Authentication Token")
}

var (
	errV2  = refuse(Incomplete, "Signature Version 2 is not supported: sign with AWS4-HMAC-SHA256 (for presigned URLs of the aws CLI, `aws configure set default.s3.signature_version s3v4`).")
	errV4a = refuse(Incomplete, "Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported: sign with AWS4-HMAC-SHA256.")
)

func checkAlgorithm(a string) error {
	switch {
	case a == algorithm:
		return nil
	case strings.HasPrefix(a, "AWS4-ECDSA-"):
		return errV4a
	case a == "AWS" || strings.HasPrefix(a, "AWS3"):
		return errV2
	}
	return refuse(Incomplete, "Unsupported AWS 'algorithm': '%.40s'", a)
}

func parseHeader(r *http.Request, query, auth string) (*Claim, error) {
	if len(auth) > maxHeader {
		return nil, refuse(Incomplete, "The Authorization header is too long.")
	}
	alg, rest, _ := strings.Cut(auth, " ")
	if err := checkAlgorithm(alg); err != nil {
		return nil, err
	}
	parts := map[string]string{}
	for item := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || k == "" {
			return nil, refuse(Incomplete, "'%.64s' not a valid key=value pair (missing equal-sign) in Authorization header.", item)
		}
		if _, dup := parts[k]; dup {
			return nil, refuse(Incomplete, "Authorization header has '%.64s' twice.", k)
		}
		parts[k] = v
	}
	var missing []string
	for _, k := range []string{"Credential", "Signature", "SignedHeaders"} {
		if parts[k] == "" {
			missing = append(missing, "Authorization header requires '"+k+"' parameter.")
		}
	}
	stamps, dates := r.Header["X-Amz-Date"], r.Header["Date"]
	if len(stamps) == 0 && len(dates) == 0 {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if len(missing) > 0 {
		return nil, refuse(Incomplete, "%s", strings.Join(missing, " "))
	}
	if len(parts) > 3 {
		return nil, refuse(Incomplete, "Authorization header has unknown parameters.")
	}
	c := &Claim{signature: parts["Signature"], query: query}
	if err := c.signedHeaders(parts["SignedHeaders"], r); err != nil {
		return nil, err
	}
	stamp := stamps
	if len(stamp) == 0 {
		stamp = dates
		if !slices.Contains(c.signed, "date") {
			return nil, refuse(Incomplete, "The Date header must be signed.")
		}
	}
	if len(stamp) != 1 {
		return nil, refuse(Incomplete, "The request has more than one date header.")
	}
	if err := c.setTime(stamp[0], len(stamps) == 0); err != nil {
		return nil, err
	}
	if t := r.Header["X-Amz-Security-Token"]; len(t) == 1 {
		c.SessionToken = t[0]
	}
	return c, c.credential(parts["Credential"])
}

// presignParams returns the X-Amz-* parameters of a query string, by the rest of their names.
func presignParams(query string) (map[string]string, error) {
	out := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(part, "=")
		key, err := url.PathUnescape(k)
		if err != nil {
			continue // the router or decoder refuses it
		}
		name, ok := strings.CutPrefix(key, "X-Amz-")
		if !ok {
			continue
		}
		if _, dup := out[name]; dup {
			return nil, refuse(Incomplete, "The query string has '%.64s' twice.", key)
		}
		value, err := url.PathUnescape(v) // '+' is itself: tokens are base64
		if err != nil {
			return nil, refuse(Incomplete, "The value of '%.64s' is not valid percent-encoding.", key)
		}
		out[name] = value
	}
	return out, nil
}

func hasParam(query, name string) bool {
	return strings.HasPrefix(query, name+"=") || strings.Contains(query, "&"+name+"=")
}

func parsePresigned(r *http.Request, query string, params map[string]string) (*Claim, error) {
	if err := checkAlgorithm(params["Algorithm"]); err != nil {
		return nil, err
	}
	var missing []string
	for _, k := range []string{"Credential", "Signature", "SignedHeaders", "Date", "Expires"} {
		if params[k] == "" {
			missing = append(missing, "AWS query-string parameters must include 'X-Amz-"+k+"'.")
		}
	}
	if len(missing) > 0 {
		return nil, refuse(Incomplete, "%s", strings.Join(missing, " "))
	}
	if len(r.Header["X-Amz-Date"]) > 0 || len(r.Header["X-Amz-Security-Token"]) > 0 {
		return nil, refuse(Incomplete, "A presigned request carries its date and token in the query string only.")
	}
	seconds, err := strconv.Atoi(params["Expires"])
	if expires := time.Duration(seconds) * time.Second; err != nil || seconds < 1 || expires > maxExpires {
		return nil, refuse(Incomplete, "X-Amz-Expires must be a number of seconds from 1 to 604800.")
	}
	c := &Claim{
		SessionToken: params["Security-Token"], Expires: time.Duration(seconds) * time.Second,
		signature: params["Signature"], presigned: true, query: query,
	}
	if err := c.signedHeaders(params["SignedHeaders"], r); err != nil {
		return nil, err
	}
	if err := c.setTime(params["Date"], false); err != nil {
		return nil, err
	}
	return c, c.credential(params["Credential"])
}

// signedHeaders reads the list of signed headers and makes sure that nothing that matters is left out of it.
func (c *Claim) signedHeaders(list string, r *http.Request) error {
	c.signed = strings.Split(list, ";")
	if len(c.signed) > maxSignedHeaders {
		return refuse(Incomplete, "More than %d headers are signed.", maxSignedHeaders)
	}
	seen := make(map[string]bool, len(c.signed))
	for _, h := range c.signed {
		if !headerName.MatchString(h) {
			return refuse(Incomplete, "'%.64s' in SignedHeaders is not a header name in lower case.", h)
		}
		if seen[h] {
			return refuse(Incomplete, "SignedHeaders has '%.64s' twice.", h)
		}
		seen[h] = true
	}
	if !seen["host"] {
		return refuse(Incomplete, "'Host' must be a signed header.")
	}
	for name, values := range r.Header {
		low := strings.ToLower(name)
		if !strings.HasPrefix(low, "x-amz-") {
			continue
		}
		if !seen[low] {
			return refuse(Incomplete, "The header '%.64s' is not signed; every X-Amz- header must be.", low)
		}
		if len(values) > 1 {
			return refuse(Incomplete, "The header '%.64s' appears more than once.", low)
		}
	}
	return nil
}

func (c *Claim) setTime(s string, httpDate bool) error {
	t, err := time.Parse(timeLayout, s)
	if err != nil && httpDate {
		t, err = http.ParseTime(s)
	}
	if err != nil {
		return refuse(Incomplete, "Date must be in ISO-8601 'basic format'. Got '%.64s'. See https://docs.aws.amazon.com/general/latest/gr/sigv4-date-handling.html", s)
	}
	c.Time = t.UTC()
	c.stamp = c.Time.Format(timeLayout)
	return nil
}

func (c *Claim) credential(s string) error {
	p := strings.Split(s, "/")
	if len(p) != 5 {
		return refuse(Incomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%.200s'", s)
	}
	for _, part := range p {
		if !credentialPart.MatchString(part) {
			return refuse(Incomplete, "Credential has an element that is empty or malformed, got '%.200s'", s)
		}
	}
	if p[4] != terminator {
		return refuse(Scope, "Credential should be scoped with a valid terminator: '%s', not '%.64s'.", terminator, p[4])
	}
	if len(c.signature) != 64 || !hexHash.MatchString(c.signature) {
		return refuse(Mismatch, mismatchText)
	}
	c.AccessKeyID, c.date, c.Region, c.Service = p[0], p[1], p[2], p[3]
	return nil
}

const mismatchText = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// Presigned reports whether the signature is in the query string.
func (c *Claim) Presigned() bool { return c.presigned }

// Check judges region, date and time of the claim. skew is how far the clocks may be apart.
func (c *Claim) Check(now time.Time, skew time.Duration, regions []string) error {
	if !slices.Contains(regions, c.Region) {
		return refuse(Scope, "Credential should be scoped to a valid Region, not '%s'. This endpoint serves %s.", c.Region, strings.Join(regions, ", "))
	}
	if c.date != c.stamp[:8] {
		return refuse(Scope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", c.date, c.stamp[:8], c.stamp)
	}
	now = now.UTC()
	if c.Time.After(now.Add(skew)) {
		return refuse(Time, "Signature not yet current: %s is still later than %s (%s + %s)", c.stamp, now.Add(skew).Format(timeLayout), now.Format(timeLayout), minutes(skew))
	}
	limit, what := now.Add(-skew), minutes(skew)
	if c.presigned {
		limit, what = now.Add(-c.Expires), c.Expires.String()
	}
	if c.Time.Before(limit) {
		return refuse(Time, "Signature expired: %s is now earlier than %s (%s - %s)", c.stamp, limit.Format(timeLayout), now.Format(timeLayout), what)
	}
	return nil
}

func minutes(d time.Duration) string { return strconv.Itoa(int(d/time.Minute)) + " min." }

// maxKeys bounds the cache of derived keys.
const maxKeys = 1024

// Verifier compares signatures. The zero value is ready and safe for concurrent use.
type Verifier struct {
	mu   sync.Mutex
	keys map[scope][]byte // guarded by mu
}

// scope includes the secret itself, so that a key whose secret changed is never verified against the old one.
type scope struct{ secret, date, region, service string }

// Verify reports whether the request r with this body was signed as claimed with secret. The error is *Error with code
// Mismatch, or Incomplete when a signed header is absent.
func (v *Verifier) Verify(c *Claim, r *http.Request, body []byte, secret string) error {
	hash, err := payloadHash(r, body)
	if err != nil {
		return err
	}
	canonical, err := c.canonical(r, hash)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(canonical))
	toSign := algorithm + "\n" + c.stamp + "\n" + c.date + "/" + c.Region + "/" + c.Service + "/" + terminator + "\n" + hex.EncodeToString(sum[:])
	want := hex.EncodeToString(mac(v.key(scope{secret, c.date, c.Region, c.Service}), toSign))
	if !hmac.Equal([]byte(want), []byte(c.signature)) {
		return refuse(Mismatch, mismatchText)
	}
	return nil
}

func (v *Verifier) key(s scope) []byte {
	v.mu.Lock()
	k := v.keys[s]
	v.mu.Unlock()
	if k != nil {
		return k
	}
	k = mac(mac(mac(mac([]byte("AWS4"+s.secret), s.date), s.region), s.service), terminator)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == nil || len(v.keys) >= maxKeys {
		v.keys = map[scope][]byte{} // starting over is simple and cheap: a key is four HMACs
	}
	v.keys[s] = k
	return k
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}
