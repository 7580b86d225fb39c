// Package access holds the words of authorization: who asks (Principal) and what is asked (Check).
//
// It decides nothing; policy does. It is a words package so that the wire layer, the services and the evaluator can
// share one vocabulary without importing each other.
package access

import "time"

// Kind says what sort of principal makes a request.
type Kind int

// The kinds of principal.
const (
	Anonymous Kind = iota
	Root           // an account's root user
	User           // an IAM user
	Role           // a session of an assumed role
	Service        // an AWS service principal, e.g. backup.amazonaws.com, acting as itself
)

// Principal is the identity a request is made by: always one principal of one account.
type Principal struct {
	Kind    Kind
	Account string // 12 digits; "" for Anonymous and Service
	// ARN as shown to people and in denials: arn:aws:iam::A:root, ...:user/path/name, or
	// arn:aws:sts::A:assumed-role/Role/session. For Service it is the service principal's name.
	ARN string
	// ID is the unique id: account id (root), AIDA... (user), AROA...:session (role session).
	ID   string
	Name string // user name or role name
	// RoleARN is the assumed role's own ARN with its path (Kind Role), which aws:PrincipalArn and role principals match.
	RoleARN       string
	SessionName   string
	ServiceLinked bool              // the role is a service-linked role: SCPs do not bind it
	Tags          map[string]string // principal tags overlaid by session tags
	// SessionPolicies are the documents given at AssumeRole (inline and by ARN, resolved); nil means no session policy.
	SessionPolicies []string
	TransitiveTags  []string // keys of session tags that go on to the next role of a chain
	SourceIdentity  string
	AccessKeyID     string    // the key that signed; "" for calls made by the service itself
	Issued          time.Time // when temporary credentials were issued; zero for long-term keys
	MFA             time.Time // when MFA was presented for the session; zero if it was not
}

// PolicyARN is the value of aws:PrincipalArn: the role's ARN for a session, else ARN.
func (p Principal) PolicyARN() string {
	if p.Kind == Role {
		return p.RoleARN
	}
	return p.ARN
}

// Context is a set of condition keys with their values. Keys are matched without regard to case. A key with several
// values is multivalued; an absent key is not the same as an empty one.
type Context map[string][]string

// Set gives key one value; it does nothing when v is "".
func (c Context) Set(key, v string) {
	if v != "" {
		c[key] = []string{v}
	}
}

// Clone returns a copy that can be changed.
func (c Context) Clone() Context {
	n := make(Context, len(c)+8)
	for k, v := range c {
		n[k] = v
	}
	return n
}

// Check is one question to the evaluator: may the principal do Action on Resource? One API call may need several, and
// all must be allowed.
type Check struct {
	Action   string // "backup:CopyIntoBackupVault"
	Resource string // an ARN, or "*" for actions without a resource
	// Account owns the resource where the ARN does not say (S3, EC2 snapshots); "" takes it from the ARN, and failing
	// that, the caller's account.
	Account string
	Context Context // condition keys that this check adds to those of the request; may be nil
	// Hidden replaces the message of a denial where the service must not reveal whether the resource exists; "" keeps the
	// standard text.
	Hidden string
}

// Env holds the facts of a request that become condition keys: where it came from and how.
type Env struct {
	RequestID  string
	Region     string // of the node, becomes aws:RequestedRegion
	SourceIP   string // "" for calls made by the service itself
	UserAgent  string
	Secure     bool   // TLS
	ViaService string // e.g. "backup.amazonaws.com" when a service calls with the caller's or a role's credentials
	Now        time.Time
}
