package iam

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
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

// openToken reads a token; whatever is wrong with it, the error is errToken. The result is shared and must not be changed.
func (s *Service) openToken(accessKeyID, token string) (*claims, error) {
	if c := s.tokens.get(accessKeyID, token); c != nil {
		return c, nil
	}
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return nil, errToken
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errToken
	}
	plain, err := s.secrets.Open(purposeSession, b, accessKeyID)
	if err != nil {
		return nil, errToken
	}
	c := new(claims)
	if err := json.Unmarshal(plain, c); err != nil || c.Secret == "" || c.Expires == 0 {
		return nil, errToken
	}
	s.tokens.put(accessKeyID, token, c)
	return c, nil
}

// openTokens remembers what tokens say, because clients send the same one with every request. Only tokens that were opened get in.
type openTokens struct {
	mu      sync.RWMutex
	entries map[string]openedToken // by access key id
}

type openedToken struct {
	token  string
	claims *claims
}

const mostTokens = 4096

func newOpenTokens() *openTokens { return &openTokens{entries: map[string]openedToken{}} }

func (o *openTokens) get(accessKeyID, token string) *claims {
	o.mu.RLock()
	e, ok := o.entries[accessKeyID]
	o.mu.RUnlock()
	if !ok || subtle.ConstantTimeCompare([]byte(e.token), []byte(token)) != 1 {
		return nil
	}
	return e.claims
}

func (o *openTokens) put(accessKeyID, token string, c *claims) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.entries) >= mostTokens {
		clear(o.entries)
	}
	o.entries[accessKeyID] = openedToken{token, c}
}

func (c *claims) expires() time.Time { return time.Unix(c.Expires, 0).UTC() }
func (c *claims) issued() time.Time  { return time.UnixMicro(c.Issued).UTC() }
