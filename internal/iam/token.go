package iam

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// A session token is the session itself, sealed under the node's root key and bound to its access key id, so that verifying
// one needs no row of its own: "SRv1" and the base64 of the sealed JSON. It holds the secret; it must never be logged.
const tokenPrefix = "SRv1"

// grantor says what kind of principal a session acts as.
const (
	actsAsRole = "role"
	actsAsUser = "user"
	actsAsRoot = "root"
)

// claims is what a token says. The names are short because clients send it with every request.
type claims struct {
	As       string            `json:"a"`
	Account  string            `json:"c"`
	ID       string            `json:"i"`           // unique id of the role or user; the account for root
	Session  string            `json:"n,omitempty"` // role session name
	Secret   string            `json:"k"`
	Issued   int64             `json:"t"` // microseconds
	Expires  int64             `json:"e"` // seconds
	MFA      int64             `json:"m,omitempty"`
	Limited  bool              `json:"l,omitempty"` // session policies were given: only what they allow
	Inline   string            `json:"p,omitempty"`
	Managed  []string          `json:"q,omitempty"` // ARNs
	Tags     map[string]string `json:"g,omitempty"` // session tags
	Pass     []string          `json:"h,omitempty"` // keys of the tags that go on to the next role
	SourceID string            `json:"s,omitempty"`
}

var errToken = errors.New("not a session token of this node for this access key")

func (s *Service) sealToken(accessKeyID string, c claims) (string, error) {
	plain, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	b, err := s.secrets.Seal(purposeSession, plain, accessKeyID)
	if err != nil {
		return "", err
	}
	return tokenPrefix + base64.StdEncoding.EncodeToString(b), nil
}

// openToken reads a token; whatever is wrong with it, the error is errToken.
func (s *Service) openToken(accessKeyID, token string) (c claims, err error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return c, errToken
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return c, errToken
	}
	plain, err := s.secrets.Open(purposeSession, b, accessKeyID)
	if err != nil {
		return c, errToken
	}
	if err := json.Unmarshal(plain, &c); err != nil || c.Secret == "" || c.Expires == 0 {
		return c, errToken
	}
	return c, nil
}

func (c claims) expires() time.Time { return time.Unix(c.Expires, 0).UTC() }
func (c claims) issued() time.Time  { return time.UnixMicro(c.Issued).UTC() }
